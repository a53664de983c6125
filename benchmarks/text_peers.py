"""The programs that `seminal.train.loop` is measured beside on text: the same models as Hugging Face has them, in its
``Trainer``, and ``torch.nn.Transformer`` in a plain loop. All compute the function of ours: `train_text.py` checks it.

Needs transformers 5 and accelerate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

from seminal.core import Batch, Recipe
from seminal.papers import gpt2, transformer
from seminal.pieces.tokens import BEGIN, END, PAD, shifted

Row = dict[str, Tensor]
WARMUP = 2000  # steps: a turn has few of them, so that the rate stays small
NOT_SAID = -100  # the label of padding at Hugging Face


# ------------------------------------------------------------------------------------------------------- the models


def marian(config: transformer.Config) -> MarianMTModel:
    """The Transformer with sines before cosines and biases. Dropout where ours has it, and nowhere else."""
    return MarianMTModel(
        MarianConfig(
            vocab_size=config.vocabulary,
            d_model=config.width,
            encoder_layers=config.layers,
            decoder_layers=config.layers,
            encoder_attention_heads=config.heads,
            decoder_attention_heads=config.heads,
            encoder_ffn_dim=config.inner,
            decoder_ffn_dim=config.inner,
            dropout=config.dropout,
            attention_dropout=0.0,
            activation_dropout=0.0,
            activation_function=config.activation,
            max_position_embeddings=config.longest,
            scale_embedding=True,
            pad_token_id=PAD,
            eos_token_id=END,
            decoder_start_token_id=BEGIN,
        )
    )


def gpt2_peer(config: gpt2.Config) -> GPT2LMHeadModel:
    """GPT-2."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocabulary,
            n_positions=config.longest,
            n_embd=config.width,
            n_layer=config.layers,
            n_head=config.heads,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.attention_dropout,
            bos_token_id=BEGIN,
            eos_token_id=END,
        )
    )


class TorchTransformer(nn.Module):
    """``torch.nn.Transformer``, and what it leaves to its user: embeddings, sinusoids, masks, the last linear map. Its
    further dropout (on the shares of attention, inside the feed-forward network) and its last normalisations are taken
    out: ours has none."""

    waves: Tensor

    def __init__(self, config: transformer.Config) -> None:
        super().__init__()
        sizes = (config.width, config.heads, config.layers, config.layers, config.inner, config.dropout)
        self.body = nn.Transformer(*sizes, activation=config.activation, batch_first=True)
        self.body.encoder.norm = self.body.decoder.norm = None
        for part in self.body.modules():
            if isinstance(part, nn.MultiheadAttention):
                part.dropout = 0.0
            elif isinstance(part, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
                part.dropout = nn.Identity()
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.register_buffer("waves", transformer.Embedding(config, sides=1).waves, persistent=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, V)."""
        hidden, count = source == PAD, target.shape[1]
        future = torch.ones(count, count, dtype=torch.bool, device=target.device).triu(1)
        found = self.body(
            self.embedded(source),
            self.embedded(target),
            tgt_mask=future,
            src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden,
            tgt_is_causal=True,
        )
        return found @ self.embedding.weight.T

    def embedded(self, tokens: Tensor) -> Tensor:
        """(B, n, d)"""
        scale = math.sqrt(self.embedding.embedding_dim)
        return self.dropout(self.embedding(tokens) * scale + self.waves[: tokens.shape[1]])

    def load(self, state: dict[str, Tensor]) -> None:
        """Weights by the names of ``torch.nn.Transformer``, with the embeddings beside them."""
        self.load_state_dict({n if n.startswith("embedding") else f"body.{n}": value for n, value in state.items()})


# ------------------------------------------------------------------------------------------------ rows and batches


@dataclass(frozen=True)
class Form:
    """How a batch of ours becomes single rows, how rows become a batch of theirs, and the sides of both: "target" is what
    is said, "source" what is only read, with padding."""

    rows: Callable[[Batch], list[Row]]
    collate: Callable[[Sequence[Row]], Row]
    ours: Callable[[Batch], Row]
    theirs: Callable[[Row], Row]


def _pairs(batch: Batch) -> list[Row]:
    rows = zip(batch["source"], batch["target"], strict=True)
    return [{"input_ids": source[source != PAD], "target": target[target != PAD]} for source, target in rows]


def _padded(rows: Sequence[Row]) -> Row:
    source, target = (
        pad_sequence([row[side] for row in rows], batch_first=True, padding_value=PAD)
        for side in ("input_ids", "target")
    )
    read, say = shifted(target)
    labels = say.masked_fill(say == PAD, NOT_SAID)
    return {"input_ids": source, "attention_mask": (source != PAD).long(), "decoder_input_ids": read, "labels": labels}


def _padded_sides(batch: Row) -> Row:
    labels = batch["labels"]
    return {"source": batch["input_ids"], "target": labels.masked_fill(labels == NOT_SAID, PAD)}


def _stacked(rows: Sequence[Row]) -> Row:
    text = torch.stack([row["input_ids"] for row in rows])
    return {"input_ids": text, "labels": text.clone()}


PAIRS = Form(
    _pairs,
    _padded,
    ours=lambda batch: {"source": batch["source"], "target": batch["target"][:, 1:]},
    theirs=_padded_sides,
)
# Their GPT-2 reads whole windows, the last token too, and drops what it says after it.
WINDOWS = Form(
    lambda batch: [{"input_ids": text} for text in batch["text"]],
    _stacked,
    ours=lambda batch: {"target": batch["text"][:, 1:]},
    theirs=lambda batch: {"target": batch["labels"][:, 1:]},
)


# -------------------------------------------------------------------------------------------------------- the loops


class Clock(TrainerCallback):
    """Seconds from the beginning of the first step to the end of the last: what comes before and after is not counted."""

    started = seconds = 0.0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.seconds = time.perf_counter() - self.started


def grouped(rows: Sequence[Row], size: int, count: int) -> list[Row]:
    """``count`` batches of ``size`` rows out of an epoch as the Trainer puts it together with ``group_by_length``, end to
    end. Its batches hold equally many rows, so that some are short and some are long: the choice takes all kinds."""
    lengths = [len(row["input_ids"]) for row in rows]
    order = get_length_grouped_indices(lengths, size, generator=torch.Generator().manual_seed(0))
    batches = [order[first : first + size] for first in range(0, len(order), size)]
    batches.sort(key=lambda batch: max(lengths[i] for i in batch))
    picked = [batches[(2 * i + 1) * len(batches) // (2 * count)] for i in range(count)]
    return [rows[i] for batch in picked for i in batch]


class InTrainer:
    """A model of Hugging Face in its ``Trainer``, on batches of ``size`` rows in the order given."""

    def __init__(self, model: Any, form: Form, rows: Sequence[Row], size: int, *, recipe: Recipe, folder: Path) -> None:
        self.model, self.form, self.rows, self.size = model, form, rows, size
        self.recipe, self.folder = recipe, folder

    def trainer(self, clock: Clock) -> Trainer:
        """Before its first step. Nothing is logged, saved or evaluated."""
        optim, recipe = self.recipe.optim, self.recipe
        arguments = TrainingArguments(
            output_dir=str(self.folder),
            use_cpu=True,
            num_train_epochs=1,
            per_device_train_batch_size=self.size,
            train_sampling_strategy="sequential",
            remove_unused_columns=False,
            learning_rate=recipe.lr,
            lr_scheduler_type="inverse_sqrt",
            warmup_steps=WARMUP,
            adam_beta1=optim.betas[0],
            adam_beta2=optim.betas[1],
            adam_epsilon=optim.eps,
            weight_decay=optim.weight_decay,
            max_grad_norm=recipe.clip or 0.0,
            label_smoothing_factor=recipe.task.label_smoothing,
            logging_strategy="no",
            save_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(self.model, arguments, self.form.collate, self.rows, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        return trainer

    def loss(self, batch: Batch) -> Tensor:
        """As the Trainer computes it, on a batch of ours."""
        return self.trainer(Clock()).compute_loss(self.model.train(), self.form.collate(self.form.rows(batch)))

    def sides(self) -> Iterator[Row]:
        """Of each batch of a turn."""
        return map(self.form.theirs, self.trainer(Clock()).get_train_dataloader())

    def turn(self) -> float:
        """Seconds of one pass over the rows."""
        clock = Clock()
        self.trainer(clock).train()
        return clock.seconds


class PlainLoop:
    """``torch.nn.Transformer`` with torch's Adam and cross-entropy, as a page of examples has it, on batches that lie ready
    in memory."""

    def __init__(self, model: TorchTransformer, batches: Sequence[Batch], recipe: Recipe) -> None:
        self.model, self.batches, self.recipe = model, batches, recipe
        smoothing = recipe.task.label_smoothing
        self.criterion = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=smoothing)

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the target tokens."""
        read, say = shifted(batch["target"])
        return self.criterion(self.model.train()(batch["source"], read).flatten(0, 1), say.flatten())

    def sides(self) -> Iterator[Row]:
        """Of each batch of a turn."""
        return map(PAIRS.ours, self.batches)

    def turn(self) -> float:
        """Seconds of one pass over the batches."""
        optim, lr = self.recipe.optim, self.recipe.lr / WARMUP
        started = time.perf_counter()
        optimiser = torch.optim.Adam(self.model.parameters(), lr=lr, betas=optim.betas, eps=optim.eps)
        for batch in self.batches:
            optimiser.zero_grad()
            self.loss(batch).backward()
            optimiser.step()
        return time.perf_counter() - started
