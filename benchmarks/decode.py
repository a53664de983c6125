"""Tokens per second when translating: `seminal.decode` beside Hugging Face's ``generate`` on the same weights, sources and
lengths, in turns; CTranslate2 as the limit to approach; and what the cache is worth.

    python benchmarks/decode.py

The model is a Marian of three layers and width 256 with random weights. Nothing ends before the length asked for, so that
all programs write the same number of tokens; the greedy translations of the first two are compared token by token.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from measuring import arguments, machine, spread, write
from seminal.decode import sampling
from seminal.decode.beam import Beam, beam
from seminal.decode.rules import Rules
from seminal.papers.transformer import BASE, Transformer
from seminal.pieces.tokens import BEGIN, END, PAD, SPECIAL
from seminal.report.terminal import table
from seminal.weights.matching import to_ours

SIZES = replace(BASE, vocabulary=8000, layers=3, width=256, inner=1024, heads=4, key=64)
SHAPE = replace(SIZES, positions="halves", biases=True, activation="silu")
SOURCE, WRITTEN, LONG = 20, 30, 100  # tokens read, tokens written, tokens written to see what the cache is worth
SETTINGS = ((1, 1), (1, 5), (32, 1), (32, 5))  # sentences at once, beam
Program = Callable[[torch.Tensor, int], Any]


def peer() -> Any:
    """Hugging Face's Marian with the sizes of `SHAPE`."""
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        vocab_size=SHAPE.vocabulary,
        d_model=SHAPE.width,
        encoder_layers=SHAPE.layers,
        decoder_layers=SHAPE.layers,
        encoder_attention_heads=SHAPE.heads,
        decoder_attention_heads=SHAPE.heads,
        encoder_ffn_dim=SHAPE.inner,
        decoder_ffn_dim=SHAPE.inner,
        max_position_embeddings=SHAPE.longest,
        pad_token_id=PAD,
        eos_token_id=END,
        decoder_start_token_id=BEGIN,
        forced_eos_token_id=None,
        scale_embedding=True,
        activation_function="swish",
    )
    torch.manual_seed(0)
    return MarianMTModel(config).eval()


def seminal_program(model: Transformer, width: int) -> Program:
    """Ours."""

    def run(source: torch.Tensor, length: int) -> torch.Tensor:
        given, rules = source.new_full((len(source), 1), BEGIN), Rules(longest=length, shortest=length)
        if width == 1:
            return sampling.write(model, source, given, rules).tokens[:, 0]
        return beam(model, source, given, Beam(width, alpha=1.0, plain=True), rules).tokens[:, 0]

    return run


def peer_program(model: Any, width: int) -> Program:
    """Hugging Face's."""

    def run(source: torch.Tensor, length: int) -> Any:
        with torch.no_grad():
            return model.generate(
                input_ids=source,
                attention_mask=torch.ones_like(source),
                num_beams=width,
                do_sample=False,
                min_new_tokens=length,
                max_new_tokens=length,
                bad_words_ids=[[PAD], [BEGIN]],
            )

    return run


def limit_program(model: Any, width: int, folder: Path, threads: int) -> Program | None:
    """CTranslate2's, a program in C++; None where it is not installed."""
    try:
        import ctranslate2
        from ctranslate2.converters.transformers import MarianMTLoader
    except ImportError:
        return None
    words = [*SPECIAL, *(str(token) for token in range(len(SPECIAL), SHAPE.vocabulary))]
    if not (folder / "model.bin").exists():

        class Loader(MarianMTLoader):  # the published ones have their padding at the end of the vocabulary, and drop it
            def _remove_pad_weights(self, spec: Any) -> None:
                pass

        spec = Loader().get_model_spec(model)
        spec.register_source_vocabulary(words)
        spec.register_target_vocabulary(words)
        spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = SPECIAL[BEGIN], SPECIAL[END], SPECIAL[1]
        spec.config.decoder_start_token, spec.config.add_source_eos = SPECIAL[BEGIN], False
        spec.validate()
        spec.optimize()
        spec.save(str(folder))
    translator = ctranslate2.Translator(str(folder), device="cpu", intra_threads=threads, compute_type="float32")

    def run(source: torch.Tensor, length: int) -> Any:
        rows = [[words[token] for token in row] for row in source.tolist()]
        return translator.translate_batch(rows, beam_size=width, min_decoding_length=length, max_decoding_length=length)

    return run


def no_cache(model: Transformer) -> Program:
    """Ours, every prefix read anew: what the cache saves."""

    def run(source: torch.Tensor, length: int) -> torch.Tensor:
        tokens = source.new_full((len(source), 1), BEGIN)
        with torch.no_grad():
            for _ in range(length):
                logits = model(source, tokens)[:, -1]
                logits[:, [PAD, BEGIN, END]] = -torch.inf
                tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], dim=1)
        return tokens

    return run


def in_turns(programs: dict[str, Program], source: torch.Tensor, length: int, rounds: int) -> dict[str, list[float]]:
    """Tokens per second of each program, in each round."""
    found: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        program(source, length)
    for _ in range(rounds):
        for name, program in programs.items():
            started = time.perf_counter()
            program(source, length)
            found[name].append(len(source) * length / (time.perf_counter() - started))
    return found


def measured(asked: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """A row for each setting, and one for the cache."""
    theirs = peer()
    ours = Transformer(SHAPE).eval()
    ours.load_state_dict(to_ours("marian", theirs.state_dict(), "transformer", SHAPE))
    rows = []
    generator = torch.Generator().manual_seed(1)
    length, long = (8, 12) if asked.quick else (WRITTEN, LONG)
    for sentences, width in SETTINGS[: 2 if asked.quick else None]:
        source = torch.randint(len(SPECIAL), SHAPE.vocabulary, (sentences, SOURCE), generator=generator)
        programs = {"seminal": seminal_program(ours, width), "transformers": peer_program(theirs, width)}
        limit = limit_program(theirs, width, folder, asked.threads)
        programs |= {"ctranslate2": limit} if limit else {}
        if width == 1:
            same = torch.equal(programs["seminal"](source, length), programs["transformers"](source, length))
            assert same, "the two programs write different translations"
        rows.append(_row(f"{sentences} at once, beam {width}", in_turns(programs, source, length, asked.rounds)))
        print(rows[-1]["setting"], {n: round(v["median"]) for n, v in rows[-1]["tokens_per_s"].items()}, flush=True)
    source = torch.randint(len(SPECIAL), SHAPE.vocabulary, (1, SOURCE), generator=generator)
    pair = {"seminal": seminal_program(ours, 1), "without cache": no_cache(ours)}
    rows.append(_row(f"1 at once, {long} tokens, greedy", in_turns(pair, source, long, asked.rounds)))
    return rows


def _row(setting: str, found: dict[str, list[float]]) -> dict[str, Any]:
    others = [name for name in found if name != "seminal"]
    ratios = {name: spread([a / b for a, b in zip(found["seminal"], found[name])]) for name in others}
    return {"setting": setting, "tokens_per_s": {name: spread(v) for name, v in found.items()}, "ratios": ratios}


def show(rows: list[dict[str, Any]]) -> None:
    """Medians, and our ratio to each other program with its range."""
    names = ["seminal", "transformers", "ctranslate2", "without cache"]
    lines = []
    for row in rows:
        rates = [f"{row['tokens_per_s'][n]['median']:.0f}" if n in row["tokens_per_s"] else "–" for n in names]
        told = [f"{v['median']:.2f} ({v['low']:.2f} … {v['high']:.2f})" for v in row["ratios"].values()]
        lines.append([row["setting"], *rates, ", ".join(told)])
    table(["setting", *(f"{name}/s" for name in names), "seminal / each other"], lines)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)


def run() -> None:
    """Measure, show and write."""
    asked = arguments("Translating: tokens per second.", _flags)
    asked.rounds = 2 if asked.quick else asked.rounds
    torch.set_num_threads(asked.threads)
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(asked, Path(folder))
    show(rows)
    print(f"written  {write('decode', asked, before, {'sizes': repr(SHAPE), 'rows': rows})}")


if __name__ == "__main__":
    sys.exit(run())
