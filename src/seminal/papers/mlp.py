"""The multilayer perceptron, trained by back-propagation.

David E. Rumelhart, Geoffrey E. Hinton, Ronald J. Williams, "Learning representations by back-propagating errors",
Nature 323, 9 October 1986, pp. 533–536.

The idea: units between input and output can learn features nobody has named. The error of the outputs, passed backwards
through the same weights, tells every hidden unit in which direction to change. One backward sweep costs about as much
as one forward sweep and gives the derivative by every weight.

    x_j = Σ_i y_i w_ji                    total input of unit j; its bias is a weight from a unit that is always 1   (1)
    y_j = 1 / (1 + exp(−x_j))             its output                                                                 (2)
    E = ½ Σ_c Σ_j (y_jc − d_jc)²          total error over cases c and output units j, desired outputs d             (3)
    ∂E/∂y_j = y_j − d_j                   at the output units                                                        (4)
    ∂E/∂x_j = ∂E/∂y_j · y_j (1 − y_j)                                                                                (5)
    ∂E/∂w_ji = ∂E/∂x_j · y_i                                                                                         (6)
    ∂E/∂y_i = Σ_j ∂E/∂x_j · w_ji          one layer further down                                                     (7)
    Δw(t) = −ε ∂E/∂w + α Δw(t−1)          gradient descent with momentum                                             (9)

The network here returns the *total input* of the output units, x_j of Eq. 1: the loss that goes with the data applies
the last squashing (Eq. 2 for the paper's own problems, softmax for one class of many, none for numbers).

Shapes: B rows, I inputs, H units of a hidden layer, O outputs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Paper, UserError
from seminal.pieces.dropout import Dropout
from seminal.pieces.init import constant, fill, he, uniform
from seminal.pieces.measure import on_meta, parameters, shapes

UNITS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(frozen=True)
class Config:
    inputs: tuple[int, ...]  # I of each group of inputs; the groups share the first hidden layer's units evenly
    hidden: tuple[int, ...]  # H, layer by layer
    outputs: int  # O
    activation: str = "sigmoid"  # of the hidden units: sigmoid (Eq. 2), tanh or relu
    dropout: float = 0.0  # share of each hidden layer's outputs set to 0 in training

    def __post_init__(self) -> None:
        if self.activation not in UNITS:
            raise UserError(f"an mlp has no activation {self.activation!r}. Choose one of: {', '.join(UNITS)}.")
        if not self.hidden or self.hidden[0] % len(self.inputs):
            raise UserError(
                f"an mlp with {len(self.inputs)} group(s) of inputs cannot have hidden layers {self.hidden}: give at least "
                "one layer, the first with the same number of units for each group."
            )

    def fitted(self, spec: DataSpec) -> Config:
        """For any data of one shape; pictures are read as one long row, in one group."""
        return replace(self, inputs=(math.prod(spec.shape),), outputs=spec.outputs)

    def departures(self) -> tuple[Departure, ...]:
        """Sizes other than those of the paper's two networks, and hidden units other than sigmoids."""
        found = []
        if replace(self, activation="sigmoid", dropout=0.0) not in (SYMMETRY, FAMILY):
            layers = "-".join(str(size) for size in (sum(self.inputs), *self.hidden, self.outputs))
            found.append(
                Departure(
                    f"layers of {layers} units (paper: 6-2-1 for mirror symmetry, 36-12-12-6-24 for family trees)",
                    "other data need other sizes; the paper gives no rule for them",
                    "Figs. 1 and 3",
                )
            )
        if self.activation != "sigmoid":
            found.append(
                Departure(
                    f"hidden units are {self.activation} (paper: sigmoid)",
                    "their slope does not shrink towards zero as fast, so deeper and faster training is possible",
                    "Eq. 2",
                )
            )
        if self.activation == "relu":
            found.append(
                Departure(
                    "weights start normal with variance 2 / inputs, biases at 0 (paper: uniform within ±0.3)",
                    "this start keeps the size of activations through layers of relu units (He et al. 2015)",
                    "Fig. 1",
                )
            )
        if self.dropout:
            what = f"dropout {self.dropout:g} after each hidden layer (paper: none)"
            found.append(Departure(what, "small sets are fitted less closely (Srivastava et al. 2014)"))
        return tuple(found)

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, all inputs) standard normal numbers."""
        return (torch.randn(batch, sum(self.inputs)),)


# ------------------------------------------------------------------------------------------------- the contribution


def back_propagated(
    layers: list[nn.Linear], x: Float[Tensor, "batch inputs"], desired: Float[Tensor, "batch outputs"]
) -> list[Tensor]:
    """∂E/∂w and ∂E/∂bias of every layer, in order, by Eqs. 1–7 written out: what autograd does for a net of sigmoids.

    It is here to be read, and as an oracle; training uses autograd, which gives the same numbers.
    """
    outputs = [x]
    for layer in layers:  # the forward sweep
        outputs.append(1 / (1 + torch.exp(-(outputs[-1] @ layer.weight.T + layer.bias))))  # Eqs. 1 and 2
    by_output = outputs[-1] - desired  # Eq. 4
    gradients: list[Tensor] = []
    for layer, above, below in zip(layers[::-1], outputs[:0:-1], outputs[-2::-1]):  # the backward sweep
        by_input = by_output * above * (1 - above)  # Eq. 5
        gradients[:0] = [by_input.T @ below, by_input.sum(0)]  # Eq. 6, summed over cases
        by_output = by_input @ layer.weight  # Eq. 7
    return gradients


class Groups(nn.Module):
    """A layer whose units are split among groups of inputs: in the family-tree network six units see the person only and
    six the relationship only (Fig. 3)."""

    def __init__(self, inputs: tuple[int, ...], units: int) -> None:
        super().__init__()
        self.inputs = list(inputs)
        self.parts = nn.ModuleList(nn.Linear(size, units // len(inputs)) for size in inputs)

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch units"]:
        return torch.cat([part(group) for part, group in zip(self.parts, x.split(self.inputs, dim=1))], dim=1)


class MultilayerPerceptron(nn.Module):
    """Layers of units, each layer fully connected to the one below."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        units = UNITS[config.activation]
        grouped = len(config.inputs) > 1
        first = Groups(config.inputs, config.hidden[0]) if grouped else nn.Linear(config.inputs[0], config.hidden[0])
        dropout = [Dropout(config.dropout)] if config.dropout else []
        self.hidden = nn.Sequential(first, units(), *dropout)
        for below, above in itertools.pairwise(config.hidden):
            self.hidden.extend([nn.Linear(below, above), units(), *dropout])
        self.output = nn.Linear(config.hidden[-1], config.outputs)
        if config.activation == "relu":
            fill(self, weights=he, biases=constant(0.0))
        else:
            fill(self, weights=uniform(0.3), biases=uniform(0.3))  # Fig. 1; a bias is a weight like any other

    def forward(self, x: Float[Tensor, batch * shape]) -> Float[Tensor, "batch outputs"]:
        x = x.flatten(1)  # a picture becomes one row of numbers: (B, I)
        x = self.hidden(x)  # (B, last H)
        y: Tensor = self.output(x)  # (B, O)
        return y


# ------------------------------------------------------------------------------------------------- variants and facts
# The sizes and the 1:2:4 solution of the paper's two networks are quoted from memory; independent copies of the
# symmetry problem agree with the first, and the fact below shows that the solution solves it.

SYMMETRY = Config(inputs=(6,), hidden=(2,), outputs=1)  # Fig. 1
FAMILY = Config(
    inputs=(24, 12), hidden=(12, 12, 6), outputs=24
)  # Fig. 3: 24 people and 12 relationships, one of each on

VARIANTS = {
    # Two hidden layers of 64: our choice, enough for the tables and small pictures an mlp is used for. The sizes of
    # input and output come from the data; these are the 8 × 8 digits.
    "mlp": Config(inputs=(64,), hidden=(64, 64), outputs=10),
    "mlp-relu": Config(inputs=(64,), hidden=(64, 64), outputs=10, activation="relu"),
    "mlp-symmetry": SYMMETRY,
    "mlp-family": FAMILY,
}


def _widths(config: Config) -> list[int]:
    """Units of each layer of the built network; the parts of a split layer one by one."""
    layers = [layer for layer in on_meta(build, config).modules() if isinstance(layer, nn.Linear)]
    return [layer.out_features for layer in layers]


def _layer_shapes() -> list[int]:
    model = on_meta(build, FAMILY)
    with torch.device("meta"):
        found = shapes(model, *FAMILY.example(1))
    return [found[name][0] for name in ("hidden.0", "hidden.2", "hidden.4", "output")]


def _mirror_symmetry() -> int:
    """How many of the 64 input vectors the network of Fig. 1 judges rightly with its hidden weights in ratio 1:2:4,
    equal in size and opposite in sign about the middle, and both hidden units the negatives of each other."""
    side = torch.tensor([1.0, 2.0, 4.0])
    arcs = 3.6 * torch.cat([side, -side.flip(0)])
    model = build(SYMMETRY).cpu()
    values = {
        "hidden.0.weight": torch.stack([arcs, -arcs]),
        "hidden.0.bias": torch.full((2,), -1.1),  # both units are off for symmetric inputs …
        "output.weight": torch.full((1, 2), -9.4),  # … and either one, when on, turns the output off
        "output.bias": torch.full((1,), 6.4),
    }
    model.load_state_dict(values)
    inputs = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)), device="cpu")
    symmetric = (inputs == inputs.flip(1)).all(1)
    return int(((model(inputs)[:, 0] > 0) == symmetric).sum())


def _largest_start() -> float:
    model = build(Config(inputs=(1_000,), hidden=(200,), outputs=10))
    return max(float(p.detach().abs().max()) for p in model.parameters())


def _backward_difference() -> float:
    """Largest difference between Eqs. 4–7 and autograd on a network with two hidden layers."""
    model = build(Config(inputs=(5,), hidden=(4, 3), outputs=2)).to("cpu", torch.float64)
    x = torch.rand(7, 5, dtype=torch.float64, device="cpu")
    desired = torch.rand(7, 2, dtype=torch.float64, device="cpu")
    (torch.sigmoid(model(x)) - desired).square().sum().div(2).backward()  # Eq. 3
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        ours = back_propagated(layers, x, desired)
    theirs = [p.grad for layer in layers for p in (layer.weight, layer.bias) if p.grad is not None]
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))


def build(config: Config) -> nn.Module:
    """The network of ``config``."""
    return MultilayerPerceptron(config)


PAPER = Paper(
    title="Learning representations by back-propagating errors",
    authors="David E. Rumelhart, Geoffrey E. Hinton, Ronald J. Williams",
    year=1986,
    venue="Nature 323, 533–536",
    url="https://doi.org/10.1038/323533a0",
    idea="Send the error backwards through the weights: hidden units learn features nobody has named.",
    build=build,
    variants=VARIANTS,
    facts=(
        Fact(
            says="mirror symmetry: 6 inputs, 2 hidden units, 1 output unit",
            where="Fig. 1",
            expect=(2, 1),
            measure=lambda: _widths(SYMMETRY),
            variant="mlp-symmetry",
        ),
        Fact(
            says="14 weights on the arcs and 3 biases in the nodes",
            where="Fig. 1",
            expect=17,
            measure=lambda: parameters(on_meta(build, SYMMETRY)),
            variant="mlp-symmetry",
        ),
        Fact(
            says="weights in ratio 1:2:4, opposite about the middle, judge all 64 input vectors rightly",
            where="Fig. 1",
            expect=64,
            measure=_mirror_symmetry,
            variant="mlp-symmetry",
        ),
        Fact(
            says="family trees: 6 units for the person and 6 for the relationship, then 12, 6 and 24 units",
            where="Fig. 3",
            expect=(6, 6, 12, 6, 24),
            measure=lambda: _widths(FAMILY),
            variant="mlp-family",
        ),
        Fact(
            says="activity levels of the five layers above 24 + 12 inputs: 12, 12, 6, 24",
            where="Fig. 3",
            expect=(12, 12, 6, 24),
            measure=_layer_shapes,
            variant="mlp-family",
        ),
        Fact(
            says="weights and biases start uniformly distributed between −0.3 and 0.3",
            where="Fig. 1",
            expect=0.3,
            within=(0.0005, 1e-7),  # 202,210 draws come this close to the limit, and pass it by rounding only
            measure=_largest_start,
            variant="mlp",
        ),
        Fact(
            says="the derivatives of Eqs. 4–7 are those that training uses",
            where="Eqs. 1–7",
            expect=0.0,
            within=1e-12,  # rounding of float64
            measure=_backward_difference,
            variant="mlp",
        ),
    ),
)
