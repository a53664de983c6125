"""What networks that read step by step share and no paper claims: rows of unlike lengths, a single bias, a linear map to
classes, and which data they read.

Rows are padded on the right, so a network that reads from left to right needs no mask: what it says of a token cannot
depend on the filling behind it. One that reads from right to left begins at the last token of each row.

Shapes: B rows, S tokens (or steps), I inputs, H units of the state, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from seminal.core import DataSpec, UserError
from seminal.pieces.dropout import Dropout
from seminal.pieces.tokens import PAD, lengths

Recurrent = TypeVar("Recurrent", bound=nn.RNNBase)

# Forms of data that have no label per text or token: what they are, and who reads them.
OTHERS = {
    "pairs": ("sentence pairs", "`transformer` or `bahdanau`"),
    "stream": ("plain text", "`gpt` or `zaremba-small`"),
    "images": ("pictures", "`resnet20`"),
    "table": ("a table of numbers", "`mlp`"),
}


def classes_of(spec: DataSpec, name: str) -> tuple[int, int, bool]:
    """Tokens of the vocabulary, classes, and whether there is a class for each token. Raises `UserError` for data without
    labels, saying which model to use."""
    if spec.kind not in ("labelled", "tagged"):
        form, model = OTHERS.get(spec.kind, (spec.kind, "another model"))
        raise UserError(f"`{name}` reads texts with labels, and {spec.name} holds {form}. Use {model}.")
    return spec.vocabulary["text"], spec.outputs, spec.kind == "tagged"


def inputs_of(batch: int, vocabulary: int, inputs: int, steps: int = 25) -> Tensor:
    """(batch, steps) tokens without padding; for a network without a vocabulary (batch, steps, inputs) numbers."""
    return torch.randint(PAD + 1, vocabulary, (batch, steps)) if vocabulary else torch.randn(batch, steps, inputs)


def last_states(states: Tensor, ends: Tensor) -> Tensor:
    """(B, H): the states (B, S, H) after the last token of each row; ``ends`` (B,) counts its tokens."""
    place = (ends - 1).clamp(min=0)
    return states.gather(1, place[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]


def turned(x: Tensor, ends: Tensor) -> Tensor:
    """The steps of each row of (B, S, H) from its last to its first; the filling stays where it is. Done twice, it gives
    the rows back."""
    place = torch.arange(x.shape[1], device=x.device)
    back = ends[:, None] - 1 - place
    order = torch.where(back >= 0, back, place)  # (B, S)
    return x.gather(1, order[:, :, None].expand_as(x))


def has_numbers(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers; where it has a shape only, to be counted, no row of it is padded."""
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))


def one_bias(layer: Recurrent) -> Recurrent:
    """torch's recurrent layers add two biases where the equations have one. The second becomes a constant 0: it is not
    learned, counted or kept."""
    zeros = torch.zeros_like(layer.get_parameter("bias_hh_l0"), requires_grad=False)
    del layer.bias_hh_l0
    layer.register_buffer("bias_hh_l0", zeros, persistent=False)
    layer.bias_hh_l0 = zeros  # torch keeps a list of its weights, which only an assignment renews
    return layer


def weights_of(layer: nn.RNNBase) -> tuple[Tensor, Tensor, Tensor]:
    """Of the inputs, of the state, and the bias, of a layer with `one_bias`."""
    into, back, bias = (layer.get_parameter(f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih"))
    return into, back, bias


class Layers(nn.Module):
    """Layers (B, S, I) → (B, S, H), each reading the states of the one below, with dropout between them."""

    def __init__(self, layers: Sequence[nn.Module], dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """The states (B, S, H) after each step, and those (B, H) after the last step of each row."""
        for i, layer in enumerate(self.layers):
            x = layer(self.dropout(x) if i else x)
        return x, last_states(x, ends)


def stacked(make: Callable[[int, int], nn.Module], inputs: int, hidden: int, layers: int, dropout: float) -> Layers:
    """`Layers` of ``hidden`` units each; ``make`` builds one from its inputs and units."""
    return Layers([make(hidden if i else inputs, hidden) for i in range(layers)], dropout)


class ReaderConfig(Protocol):
    """What a reader must know. With ``vocabulary`` 0 it reads vectors, not tokens."""

    @property
    def vocabulary(self) -> int: ...
    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    @property
    def per_token(self) -> bool: ...
    @property
    def dropout(self) -> float: ...


class Reader(nn.Module):
    """A vector for each token, a network that reads them step by step, and a linear map to classes: of the state after the
    last token, or of the state at each token."""

    def __init__(self, config: ReaderConfig, body: nn.Module, width: int) -> None:
        super().__init__()
        self.per_token = config.per_token
        self.embedding = nn.Embedding(config.vocabulary, config.inputs) if config.vocabulary else None
        if self.embedding is not None:
            # torch's vectors have length √I: a word that is seen ten times would keep its chance direction.
            nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.body = body  # (B, S, I) and the rows' lengths → (B, S, width), (B, width)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(width, config.outputs)

    def forward(self, text: Tensor) -> Tensor:
        """Logits (B, C), or (B, S, C) with a class per token. ``text`` is (B, S) tokens, or (B, S, I) vectors."""
        if self.embedding is None:
            x, ends = text, torch.full((len(text),), text.shape[1], device=text.device)
        else:
            x, ends = self.dropout(self.embedding(text)), lengths(text)
        states, last = self.body(x, ends)
        logits: Tensor = self.head(self.dropout(states if self.per_token else last))
        return logits
