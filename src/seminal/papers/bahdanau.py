"""RNNsearch: translation by a recurrent network that looks at the source before each word.

Dzmitry Bahdanau, Kyunghyun Cho, Yoshua Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate",
ICLR 2015, arXiv:1409.0473 (September 2014).

The idea: one vector of fixed size is too little for a long sentence. The encoder, which reads in both directions, gives
a vector for each word (an annotation), and before each word it writes the decoder takes a weighted mean of them: the
weights come from a small network that is learned along with the rest, and they show which words belong together.

    h_j = [→h_j ; ←h_j],  from gated units in both directions                                               (7, A.2.1)
    e_ij = v_aᵀ tanh(W_a s_{i−1} + U_a h_j),  α_ij = softmax over j of e_ij                             (6, A.1.2)
    c_i = Σ_j α_ij h_j                                                                                      (5)
    z_i = σ(W_z E y_{i−1} + U_z s_{i−1} + C_z c_i),  r_i = σ(W_r E y_{i−1} + U_r s_{i−1} + C_r c_i)         (A.2.2)
    s̃_i = tanh(W E y_{i−1} + U (r_i ∘ s_{i−1}) + C c_i),  s_i = (1 − z_i) ∘ s_{i−1} + z_i ∘ s̃_i             (A.2.2)
    s_0 = tanh(W_s ←h_1)                                                                                    (A.2.2)
    t̃_i = U_o s_{i−1} + V_o E y_{i−1} + C_o c_i,  t_ij = max(t̃_i,2j−1, t̃_i,2j),  p(y_i) ∝ exp(y_iᵀ W_o t_i)  (A.2.2)

The biases, which the paper leaves out of its equations (A.2.1), are here: of the gated units, W_s, the readout and W_o.
The reset gate is applied before the product with U, unlike in ``torch.nn.GRU``: hence the loops of this file.

Shapes: B rows, S source words, T target words, m width of an embedding, n units, w width of an annotation (2n), a units
of the alignment (n′), l maxout units, V target vocabulary; R = B · beams hypotheses when writing. Inside, time comes
first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seminal.core import DataSpec, Departure, Fact, Memory, Paper, Result, UserError
from seminal.pieces import masks
from seminal.pieces.attention import additive, attend
from seminal.pieces.dropout import Dropout
from seminal.pieces.measure import on_meta, stages
from seminal.pieces.recurrent import last_states, turned
from seminal.pieces.tokens import PAD, lengths


@dataclass(frozen=True)
class Config:
    """A model of Sec. 4.2, with the sizes of A.2.3."""

    source: int = 30_000  # K_x
    target: int = 30_000  # K_y
    embedding: int = 620  # m
    width: int = 1000  # n
    alignment: int = 1000  # n′
    maxout: int = 500  # l
    attention: bool = True  # False: RNNencdec, which has one vector for the whole sentence
    dropout: float = 0.0  # on embeddings, annotations and the maxout layer: not in the paper

    def fitted(self, spec: DataSpec) -> Config:
        """For sentence pairs."""
        if spec.kind != "pairs":
            raise UserError(
                f"this network translates sentence pairs, and {spec.name} is {spec.form}. Use `lstm` for labelled text, "
                "or `gpt` for plain text."
            )
        return replace(self, source=spec.vocabulary["source"], target=spec.vocabulary["target"])

    def departures(self) -> tuple[Departure, ...]:
        """Sizes that are not those of A.2.3, and dropout."""
        return tuple(_departures(self))

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """(batch, 25) source and (batch, 25) target tokens without padding."""
        return tuple(torch.randint(PAD + 1, size, (batch, 25)) for size in (self.source, self.target))


# ------------------------------------------------------------------------------------------------- the contribution


class Alignment(nn.Module):
    """A.1.2: how well each annotation suits the word that is to be written, and their mean with these weights."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.queries = nn.Linear(config.width, config.alignment, bias=False)  # W_a
        self.keys = nn.Linear(2 * config.width, config.alignment, bias=False)  # U_a: once for each annotation
        self.weight = nn.Parameter(torch.empty(config.alignment))  # v_a

    def forward(
        self, state: Float[Tensor, "R n"], read: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, "R w"], Float[Tensor, "R S"]]:
        """c_i and α_i for the states s_{i−1} of all hypotheses: those of one source are further queries."""
        keys = read["keys"]
        queries = self.queries(state).view(len(keys), -1, keys.shape[-1])  # (B, beams, a)
        context, weights = attend(additive(queries, keys, self.weight), read["annotations"], read["mask"])
        return context.flatten(0, 1), weights.flatten(0, 1)


class GatedUnits(nn.Module):
    """A.1.1: units that say themselves how much of their state they forget (r) and how much they replace (z)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.inside = nn.Linear(inputs, 3 * width)  # W_z, W_r, W, and the biases
        self.gates = nn.Linear(width, 2 * width, bias=False)  # U_z, U_r
        self.proposal = nn.Linear(width, width, bias=False)  # U

    def forward(self, x: Float[Tensor, "S B m"]) -> Float[Tensor, "S B n"]:
        """The state after each of ``x``, from a state of zeros."""
        given = self.inside(x)
        state, states = given.new_zeros(x.shape[1], self.proposal.in_features), []
        for now in given.unbind(0):
            state = self.step(now, state)
            states.append(state)
        return torch.stack(states)

    def step(self, given: Float[Tensor, "B n3"], state: Float[Tensor, "B n"]) -> Float[Tensor, "B n"]:
        """The next state; ``given`` is what does not come from the state, for z, r and the proposal in this order."""
        width = state.shape[-1]
        for_gates, for_proposal = given.split([2 * width, width], dim=-1)
        gates = torch.sigmoid(torch.addmm(for_gates, state, self.gates.weight.t()))
        update, reset = gates.chunk(2, dim=-1)
        proposal = torch.tanh(torch.addmm(for_proposal, reset * state, self.proposal.weight.t()))
        return torch.lerp(state, proposal, update)


# ------------------------------------------------------------------------------------------------- the whole model


class Encoder(nn.Module):
    """A.2.1. RNNencdec has the forward direction only, and its last state is the only annotation."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.words = nn.Embedding(config.source, config.embedding)  # E, for both directions
        self.forwards = GatedUnits(config.embedding, config.width)
        self.backwards = GatedUnits(config.embedding, config.width) if config.attention else None
        self.dropout = Dropout(config.dropout)

    def forward(self, source: Int[Tensor, "B S"]) -> Float[Tensor, "B J w"]:
        """The annotations: J = S of width 2n, or one of width n."""
        x, ends = self.dropout(self.words(source)), lengths(source)
        after = self.forwards(x.transpose(0, 1)).transpose(0, 1)
        if self.backwards is None:
            return self.dropout(last_states(after, ends)[:, None])
        before = self.backwards(turned(x, ends).transpose(0, 1)).transpose(0, 1)
        return self.dropout(torch.cat([after, turned(before, ends)], dim=-1))


class RNNSearch(nn.Module):
    """Fig. 1."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        wide = 2 * config.width if config.attention else config.width
        self.config = config
        self.encoder = Encoder(config)
        self.alignment = Alignment(config) if config.attention else None
        self.start = nn.Linear(config.width, config.width)  # W_s
        self.words = nn.Embedding(config.target, config.embedding)  # E of the target
        self.units = GatedUnits(config.embedding, config.width)
        self.context = nn.Linear(wide, 3 * config.width, bias=False)  # C_z, C_r, C
        self.readout = nn.Linear(config.width + config.embedding + wide, 2 * config.maxout)  # U_o, V_o, C_o
        self.output = nn.Linear(config.maxout, config.target)  # W_o
        self.dropout = Dropout(config.dropout)
        first_values(self)

    def forward(self, source: Int[Tensor, "B S"], target: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the word after each of ``target``, which begins with ``<s>``."""
        read, state = self.read(source)
        return self.output(self.follow(target, read, state)[0])

    def read(self, source: Int[Tensor, "B S"]) -> tuple[dict[str, Tensor], Float[Tensor, "B n"]]:
        """All that depends on the source alone, and s_0."""
        annotations = self.encoder(source)
        # The last n numbers are ←h_1. RNNencdec has no ←h: Cho et al. 2014 start from the vector for the sentence.
        state = torch.tanh(self.start(annotations[:, 0, -self.config.width :]))
        if self.alignment is None:
            return {"annotations": annotations}, state
        keys = self.alignment.keys(annotations)
        return {"annotations": annotations, "keys": keys, "mask": masks.padding(source)[:, 0]}, state

    def look(self, state: Float[Tensor, "R n"], read: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """c_i and α_i. RNNencdec is this model with c_i fixed (A.2.2): it looks nowhere."""
        if self.alignment is not None:
            return self.alignment(state, read)
        only = read["annotations"]
        return only.expand(-1, len(state) // len(only), -1).flatten(0, 1), None

    def follow(
        self, tokens: Int[Tensor, "R T"], read: Mapping[str, Tensor], state: Float[Tensor, "R n"]
    ) -> tuple[Float[Tensor, "R T l"], Float[Tensor, "R n"], Tensor | None]:
        """Reads words y_{i−1} and gives t_i for each, then the last state and the last α.

        Only what needs the state before it is in the loop: about ten small operations for each word."""
        x = self.dropout(self.words(tokens.t()))
        states, contexts, weights = [], [], None
        for given in self.units.inside(x).unbind(0):
            context, weights = self.look(state, read)
            states.append(state)
            contexts.append(context)
            state = self.units.step(torch.addmm(given, context, self.context.weight.t()), state)
        told = self.readout(torch.cat([torch.stack(states), x, torch.stack(contexts)], dim=-1))
        odd, even = told.unflatten(-1, (-1, 2)).unbind(-1)
        return self.dropout(torch.maximum(odd, even)).transpose(0, 1), state, weights

    def begin(self, source: Tensor | None, rows: int, attention: bool = False) -> Memory:
        """See `seminal.core.Writer`."""
        assert source is not None
        read, state = self.read(source)
        moving = {"state": state.repeat_interleave(rows // len(source), dim=0)}
        if attention:
            moving["attention"] = state.new_zeros(rows, source.shape[1])
        return Memory(read, moving)

    def step(self, tokens: Int[Tensor, "R n"], memory: Memory) -> tuple[Tensor, Memory]:
        """See `seminal.core.Writer`."""
        told, state, weights = self.follow(tokens, memory.fixed, memory.moving["state"])
        moving = {**memory.moving, "state": state}
        if weights is not None and "attention" in moving:
            moving["attention"] = weights
        return self.output(told[:, -1]), replace(memory, moving=moving, length=memory.length + tokens.shape[1])


def first_values(model: RNNSearch) -> None:
    """B.1: recurrent matrices orthogonal, W_a and U_a from N(0, 0.001²), v_a and biases 0, all others from N(0, 0.01²)."""
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.zeros_(parameter)
        else:
            nn.init.normal_(parameter, std=0.01)
    for module in model.modules():
        if isinstance(module, Alignment):
            nn.init.normal_(module.queries.weight, std=0.001)
            nn.init.normal_(module.keys.weight, std=0.001)
        elif isinstance(module, GatedUnits):
            for matrix in (*module.gates.weight.chunk(2), module.proposal.weight):
                nn.init.orthogonal_(matrix)


# ------------------------------------------------------------------------------------------- the paper's own numbers

SEARCH = Config()
VARIANTS = {
    "bahdanau": SEARCH,  # RNNsearch-30, RNNsearch-50 and RNNsearch-50⋆: they differ in the data and the time
    "rnnencdec": replace(SEARCH, attention=False),  # RNNencdec-30 and RNNencdec-50
}


def _departures(config: Config) -> list[Departure]:
    found = []
    sizes = config.embedding, config.width, config.alignment, config.maxout
    paper = SEARCH.embedding, SEARCH.width, SEARCH.alignment, SEARCH.maxout
    if sizes != paper:
        what = "embeddings of {}, {} units, an alignment of {}, {} maxout units".format(*sizes)
        what += " (paper: {}, {}, {}, {})".format(*paper)
        found.append(Departure(what, "small data are overfitted by the paper's sizes", "A.2.3"))
    if (config.source, config.target) != (SEARCH.source, SEARCH.target):
        what = f"{config.source:,} and {config.target:,} tokens (paper: 30,000 words on each side)"
        found.append(Departure(what, "as the data have it", "Sec. 4.1"))
    if config.dropout:
        what = f"dropout {config.dropout:g} on embeddings, annotations and the maxout layer (paper: none)"
        found.append(
            Departure(what, "the paper has hundreds of millions of words, and small data are learned by heart")
        )
    return found


PARTS = {
    "encoder": ("encoder.",),
    "decoder": ("start.", "words.", "units.", "context."),
    "alignment": ("alignment.",),
    "readout": ("readout.", "output."),
}


def _weights(part: str) -> int:
    """Numbers in the matrices of a part; v_a is one of them, biases are not."""
    sizes = {name: p for name, p in on_meta(RNNSearch, SEARCH).named_parameters() if name.startswith(PARTS[part])}
    return sum(p.numel() for name, p in sizes.items() if not name.endswith("bias"))


def _printed_sizes() -> tuple[int, ...]:
    model = on_meta(RNNSearch, SEARCH)
    units, alignment = model.get_submodule("units"), model.get_submodule("alignment")
    assert isinstance(units, GatedUnits)
    assert isinstance(alignment, Alignment)
    rows, inputs = model.get_parameter("readout.weight").shape
    assert inputs == units.proposal.in_features + units.inside.in_features + alignment.keys.in_features
    return units.proposal.in_features, units.inside.in_features, rows // 2, alignment.queries.out_features


def _first() -> RNNSearch:
    """Small, because only the spread of its first values is looked at."""
    return RNNSearch(Config(50, 50, embedding=60, width=100, alignment=100, maxout=50))


def _from_orthogonal() -> float:
    """Largest entry of U Uᵀ − 1 over all nine recurrent matrices."""
    largest = 0.0
    for module in _first().modules():
        if isinstance(module, GatedUnits):
            for matrix in (*module.gates.weight.chunk(2), module.proposal.weight):
                largest = max(largest, float((matrix @ matrix.t() - torch.eye(len(matrix))).abs().max().detach()))
    return largest


def _spreads() -> tuple[float, ...]:
    """Standard deviations of W_a, U_a, C, W_o and v_a."""
    names = "alignment.queries.weight", "alignment.keys.weight", "context.weight", "output.weight", "alignment.weight"
    model = _first()
    return tuple(float(model.get_parameter(name).detach().std()) for name in names)


PAPER = Paper(
    title="Neural Machine Translation by Jointly Learning to Align and Translate",
    authors="Bahdanau, Cho, Bengio",
    year=2014,
    venue="ICLR 2015",
    url="https://arxiv.org/abs/1409.0473",
    idea="Before each word the decoder looks at all words of the source, with weights that are learned along with it.",
    build=RNNSearch,
    variants=VARIANTS,
    facts=(
        # The paper prints the shape of every matrix, and no sum. Biases add 6n + 3n + n + 2l + K = 41,000.
        Fact("weights of the encoder: K_x m + 6 n (m + n)", "A.2.1 and A.2.3", 28_320_000, lambda: _weights("encoder")),
        Fact(
            "weights of the decoder: K_y m + 3 n (m + n + 2n) + n²",
            "A.2.2 and A.2.3",
            30_460_000,
            lambda: _weights("decoder"),
        ),
        Fact(
            "weights of the alignment: n′ n + 2 n′ n + n′", "A.2.2 and A.2.3", 3_001_000, lambda: _weights("alignment")
        ),
        Fact(
            "weights of the readout: 2l (n + m + 2n) + K_y l",
            "A.2.2 and A.2.3",
            18_620_000,
            lambda: _weights("readout"),
        ),
        Fact("n, m, l, n′", "A.2.3", (1000, 620, 500, 1000), _printed_sizes),
        Fact(
            "an annotation of 2n numbers for each of 25 words",
            "Eq. 7",
            (25, 2000),
            lambda: stages(RNNSearch, SEARCH)["encoder"],
        ),
        Fact(
            "RNNencdec: one vector of n numbers for the sentence",
            "Sec. 4.2",
            (1, 1000),
            lambda: stages(RNNSearch, VARIANTS["rnnencdec"])["encoder"],
            variant="rnnencdec",
        ),
        Fact("recurrent matrices are orthogonal: U Uᵀ − 1", "B.1", 0.0, _from_orthogonal, within=1e-5),
        Fact(
            "first values spread by 0.001 (W_a, U_a), 0.01 (others), 0 (v_a)",
            "B.1",
            (0.001, 0.001, 0.01, 0.01, 0.0),
            _spreads,
            within=0.0005,
        ),
    ),
    results=(
        Result("rnnencdec", "newstest2014 en-fr", "BLEU", 17.82, "Table 1, sentences of up to 50 words"),
        Result("rnnencdec", "newstest2014 en-fr, all words known", "BLEU", 26.71, "Table 1"),
        Result("bahdanau", "newstest2014 en-fr", "BLEU", 26.75, "Table 1, RNNsearch-50"),
        Result("bahdanau", "newstest2014 en-fr, all words known", "BLEU", 34.16, "Table 1, RNNsearch-50"),
    ),
)
