"""The words of the doctor: what can be wrong, what was found, and what helps.

A finding is never an opinion: it carries the numbers it stands on, a confidence between 0 and 1, the rivals it ruled out and
how, and remedies that can be tried on a copy of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from seminal.core import Recipe
from seminal.doctor.program import Program

# The closed list of names a finding may carry, and what each means in a sentence for a beginner.
ILLNESSES: Mapping[str, str] = MappingProxyType(
    {
        "lr_high": "the learning rate is too high: the loss diverges, spikes, or bounces between walls",
        "lr_low": "the learning rate is too low: the loss still falls, too slowly to matter",
        "optimizer": "the optimiser cannot make progress here",
        "epochs_few": "training stopped while it was still improving clearly",
        "batch_size": "the batch is so large that updates are too few, or so small that noise rules",
        "gradient_clip": "gradients are clipped so tightly that most steps are shortened",
        "input_scale": "inputs are not scaled, or features have very different scales",
        "target_scale": "targets lie far outside what the output starts with, or swamp the gradient",
        "output_activation": "the last activation does not fit the target or the loss",
        "hidden_activation": "there is no non-linearity between layers, or an unsuitable one",
        "loss_mismatch": "the loss does not fit the task",
        "loss_implementation": "the loss is computed wrongly",
        "double_softmax": "softmax is applied before a loss that applies it again",
        "wrong_units": "the number of outputs does not match the classes or targets",
        "init_bad": "the first weights are constant, far too large, or far too small",
        "vanishing_gradient": "gradients die on the way to the first layers",
        "exploding_gradient": "gradients or activations blow up",
        "dead_relu": "most units never fire",
        "saturation": "sigmoid or tanh units sit on their flat ends",
        "over_regularised": "regularisation is so strong that training cannot fit",
        "overfitting": "training fits, and validation stays far behind or gets worse",
        "underfitting": "the model is too simple: a larger one lowers the training loss",
        "saddle_plateau": "training is stuck where the gradient is small, at a saddle or on a plateau",
        "label_noise": "a share of the labels is wrong",
        "label_bug": "labels do not belong to their inputs",
        "class_imbalance": "rare classes are ignored",
        "data_shift": "training and validation data differ in distribution or preprocessing",
        "leakage": "validation rows, or the answer itself, are in the training inputs",
        "no_shuffle": "batches come in the order of classes or of time",
        "frozen_parameters": "parameters that should learn do not",
        "graph_cut": "the loss is cut off from parameters",
        "zero_grad_missing": "gradients pile up over steps",
        "mode_misuse": "evaluation mode while training, or training mode while validating",
        "batch_contamination": "rows of a batch influence one another",
        "non_finite_data": "inputs or targets hold NaN or infinity",
        "metric_wrong": "the metric does not measure the task",
        "mode_collapse": "the generator's samples lack variety",
        "critic_too_strong": "the generator gets no gradient from its critic",
        "posterior_collapse": "the latent variables are ignored",
        "crash": "the program ends its own training with an exception",
    }
)


@dataclass(frozen=True)
class Remedy:
    """A pure change of a program: what it does in words, the lines a person would write, and the change itself. What a recipe
    can say has the same change of a `Recipe` too: a run of ours is treated by that one, and it can be written down."""

    name: str  # short and stable, as it stands in JSON: "learning rate / 10"
    says: str  # a sentence
    snippet: str  # the lines to change in the user's own program
    change: Callable[[Program], Program] = field(repr=False, compare=False)
    recipe: Callable[[Recipe], Recipe] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Finding:
    """One illness, and why we believe in it."""

    illness: str
    confidence: float  # the share of such findings that are right, as calibrated
    evidence: tuple[str, ...]  # sentences with numbers
    remedies: tuple[Remedy, ...] = ()  # the first is tried first
    ruled_out: tuple[str, ...] = ()  # "lr_high: a tenth of the rate does not help (loss 2.30 → 2.30)"
    explains: frozenset[str] = frozenset()  # illnesses whose signs this one makes too: they are not named beside it

    def __post_init__(self) -> None:
        assert self.illness in ILLNESSES
        assert 0 <= self.confidence <= 1
        assert self.evidence


@dataclass(frozen=True)
class Verdict:
    """What the doctor says in the end: findings, the surest first; none where nothing is wrong."""

    findings: tuple[Finding, ...]
    decided: bool = True  # False: `cannot_tell`
    open_question: str = ""  # where undecided: the examination that would decide
    branch: str = ""  # of the General Guide: "optimisation", "model bias", "overfitting", "mismatch", "code", "data"
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """``healthy``, ``cannot_tell``, or the surest illness."""
        if self.findings:
            return self.findings[0].illness
        return "healthy" if self.decided else "cannot_tell"

    def __str__(self) -> str:
        """As lines of text."""
        lines = []
        for finding in self.findings:
            lines.append(f"{finding.illness} ({finding.confidence:.2f}): {'; '.join(finding.evidence)}.")
            lines += [f"    try: {remedy.says}" for remedy in finding.remedies[:1]]
        if not self.findings:
            lines.append(f"{self.name}: {self.open_question if not self.decided else 'no sign of an illness'}.")
        return "\n".join(lines)
