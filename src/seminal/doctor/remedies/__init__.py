"""What helps: pure changes of a freshly made program, one function per remedy."""

from __future__ import annotations

from functools import reduce

from seminal.doctor.findings import Remedy
from seminal.doctor.program import Program
from seminal.doctor.remedies.data import (
    balanced,
    cleaned,
    default_validation,
    finite_rows,
    rejoined,
    relabelled,
    same_preprocessing,
    shuffled,
    standardised_inputs,
    without_column,
    without_duplicates,
)
from seminal.doctor.remedies.layers import (
    activations,
    deeper,
    default_start,
    he_start,
    no_dropout,
    normalised,
    reconnected,
    rows_first,
    smaller,
    wider,
    with_activations,
)
from seminal.doctor.remedies.optimisation import (
    adam,
    all_parameters,
    batch,
    clipped,
    corrected,
    default_step,
    full_batches,
    longer,
    momentum,
    more_decay,
    no_decay,
    rate,
    sgd,
    stopped_early,
    unclipped,
    warmed,
)
from seminal.doctor.remedies.outputs import (
    smoothed,
    standardised_targets,
    swapped_loss,
    with_ending,
    with_loss,
    with_metric,
    with_outputs,
    without_ending,
)

__all__ = [
    "Remedy",
    "activations",
    "adam",
    "all_parameters",
    "balanced",
    "batch",
    "cleaned",
    "clipped",
    "corrected",
    "deeper",
    "default_start",
    "default_step",
    "default_validation",
    "finite_rows",
    "full_batches",
    "he_start",
    "longer",
    "momentum",
    "more_decay",
    "no_decay",
    "no_dropout",
    "normalised",
    "rate",
    "reconnected",
    "rejoined",
    "relabelled",
    "rows_first",
    "same_preprocessing",
    "sgd",
    "shuffled",
    "smaller",
    "smoothed",
    "standardised_inputs",
    "standardised_targets",
    "stopped_early",
    "swapped_loss",
    "together",
    "unclipped",
    "warmed",
    "wider",
    "with_activations",
    "with_ending",
    "with_loss",
    "with_metric",
    "with_outputs",
    "without_column",
    "without_duplicates",
    "without_ending",
]


def together(*remedies: Remedy) -> Remedy:
    """Several remedies as one, in this order."""

    def change(program: Program) -> Program:
        for remedy in remedies:
            program = remedy.change(program)
        return program

    changes = [remedy.recipe for remedy in remedies if remedy.recipe is not None]
    return Remedy(
        " + ".join(remedy.name for remedy in remedies),
        "; ".join(remedy.says for remedy in remedies),
        "\n".join(remedy.snippet for remedy in remedies),
        change,
        (lambda recipe: reduce(lambda made, one: one(made), changes, recipe))
        if len(changes) == len(remedies)
        else None,
    )
