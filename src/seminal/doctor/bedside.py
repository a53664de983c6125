"""What can be said of a run from its vitals alone, in anybody's loop: no experiment, no second run.

Thresholds start from the figures of published tools (DeepFD, DeepDiagnosis, TheDeepChecker, SageMaker Debugger, TrainCheck),
each joined by a second condition: a sign that healthy runs show too is worth nothing while the loss falls. Mechanisms that
are seen directly (gradients that pile up, parameters that nothing moves) need no second one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from statistics import median

from seminal.doctor import remedies
from seminal.doctor.findings import Finding, Verdict
from seminal.doctor.loss_curve import Curve, curve, thrown_back
from seminal.doctor.uncorrected import uncorrected_adam
from seminal.doctor.vitals import Vitals, Weight

FEWEST = 3  # steps of which more than the loss was written down, before anything is said
NAMED = 0.5  # confidence below which nothing is named
ALMOST = 0.9  # of the steps: practically always
SAME = 1e-3  # of the outputs: a spread over rows that is none
LARGE = 0.1  # of a weight: a step of DeepDiagnosis and TheDeepChecker that is too large
LITTLE = 0.3  # of the first level: a fall that does not make up for having been thrown far above it
SLOW = frozenset({"lr_low", "epochs_few", "optimizer", "underfitting", "saddle_plateau", "vanishing_gradient"})


def judged(vitals: Vitals) -> Verdict:
    """Findings, the surest first; those that a surer one explains are left out."""
    loss = curve(vitals.loss)
    if len(vitals.seen) < FEWEST and not vitals.broken:
        return Verdict((), False, f"only {vitals.steps} steps were watched: go on training", seconds=vitals.seconds)
    found = [finding for sign in SIGNS if (finding := sign(vitals, loss)) and finding.confidence >= NAMED]
    found.sort(key=lambda finding: -finding.confidence)
    explained: set[str] = set()
    findings: list[Finding] = []
    for finding in found:
        if finding.illness not in explained and finding.illness not in {f.illness for f in findings}:
            findings.append(finding)
            explained |= finding.explains
    question = "" if findings else _open(vitals, loss)
    return Verdict(tuple(findings), not question, question, seconds=vitals.seconds)


def _open(vitals: Vitals, loss: Curve | None) -> str:
    """The question that stays open where nothing was found."""
    if vitals.broken:
        return (
            f"step {vitals.broken_step} broke at: {vitals.broken}. Where only the loss is not finite, look at the targets "
            "of that batch, and for a logarithm, a root or a division in the loss"
        )
    if not vitals.loss:
        return "no loss was told, so nobody knows whether it falls: call patient.loss(loss) in every step"
    if loss is None:
        return f"{vitals.told} losses are too few to tell whether it falls: go on training"
    if not loss.falls:
        return (
            f"the loss does not fall ({loss.first:.3g} → {loss.last:.3g}), and the vitals do not say why: "
            "`seminal doctor` can find out by experiments"
        )
    return ""


# ----------------------------------------------------------------------------------------- mechanisms, seen directly


def not_finite(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """By what broke first."""
    if not vitals.broken:
        return None
    kind, _, name = vitals.broken.partition(" ")
    when = f"at step {vitals.broken_step}"
    if kind == "input":
        rows = f" (rows {', '.join(map(str, vitals.broken_rows[:5]))} of the batch)" if vitals.broken_rows else ""
        return Finding(
            "non_finite_data",
            0.97,
            (f"{when} the input of the model held NaN or infinity{rows}",),
            (remedies.finite_rows(),),
            explains=frozenset({"lr_high", "exploding_gradient", "loss_implementation"}),
        )
    ratio, losses = _update_ratio(vitals), [value for value in vitals.loss if math.isfinite(value)]
    if ratio > 0.1 or (losses and max(losses) > 10 * abs(losses[0])):
        evidence = [f"{when} the first value that is not finite was in: {kind} `{name}`"]
        if losses:
            evidence.append(f"the loss had gone from {losses[0]:.3g} to {max(losses):.3g}")
        if ratio == ratio:
            evidence.append(f"a step changed weights by {ratio:.1%} of their size (median)")
        return Finding(
            "lr_high", 0.75, tuple(evidence), (remedies.rate(0.1),), explains=frozenset({"exploding_gradient"})
        )
    norms = [norm for norm in vitals.gradient if math.isfinite(norm)]
    if kind in ("layer", "gradient") and norms and max(norms) > 100 * max(median(norms), 1e-12):
        told = f"norms of the gradient had reached {max(norms):.3g} (median {median(norms):.3g})"
        return Finding(
            "exploding_gradient",
            0.65,
            (f"{when} the first value that is not finite was in: {kind} `{name}`", told),
            (remedies.clipped(median(norms)),),
        )
    return None


def zero_grad_missing(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """TrainCheck's rule that zero_grad precedes backward, but only where the gradients were used before."""
    later = vitals.leftover[1:]
    if len(later) < FEWEST - 1 or sum(later) < 0.7 * len(later):
        return None
    grew = ", ".join(f"{norm:.3g}" for norm in vitals.gradient[:4])
    return Finding(
        "zero_grad_missing",
        0.97,
        (
            f"at {sum(later)} of {len(later)} looks, the gradients that optimizer.step() had already used were still "
            f"there when backward began (norm {grew} …): optimizer.zero_grad() is not called between the steps",
        ),
        (remedies.default_step(),),
        explains=frozenset({"exploding_gradient", "lr_high", "saturation", "dead_relu", "gradient_clip"}),
    )


def frozen_parameters(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """Gradients are made, and nothing is done with them."""
    if len(vitals.at) < 2:
        return None
    fed = {name: w for name, w in vitals.weights.items() if w.learns and any(g > 0 for g in w.gradient)}
    still = {name: w for name, w in fed.items() if not w.moved}
    if not still:
        return None
    lost = [name for name, w in still.items() if not w.owned]
    if lost:
        return Finding(
            "frozen_parameters",
            0.85,
            (
                f"backward makes gradients for {_named(lost)} ({_share(vitals, lost):.0%} of the numbers), the optimiser "
                "does not have them, and they never move (if that is meant, requires_grad_(False) saves the time)",
            ),
            (remedies.all_parameters(),),
            explains=SLOW,
        )
    if len(still) == len(fed) and max(vitals.gradient) > 0 and max(vitals.taken) == 0:
        says = (
            f"backward leaves gradients (norm up to {max(vitals.gradient):.3g}), and none is left when optimizer.step() "
            "begins: they are cleared in between, and no parameter moves"
        )
        return Finding("frozen_parameters", 0.95, (says,), (remedies.default_step(),), explains=SLOW)
    if len(still) == len(fed) and not any(vitals.rate):
        return Finding("lr_low", 0.9, ("the learning rate is 0, and no parameter moves",), (), explains=SLOW)
    return None


def graph_cut(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """The forward pass goes through the first layers, and backward does not come back to them. Layers at the end without
    gradients are merely unused, and many a library has some."""
    if len(vitals.at) < 2:
        return None
    owners = [name for name in vitals.layers if _own(vitals, name)]
    cut: list[str] = []
    for owner in owners:
        if any(not w.learns or any(g == g for g in w.gradient) for _, w in _own(vitals, owner)):
            break
        cut.append(owner)
    if not cut or (len(cut) == len(owners) and any(g > 0 for w in vitals.weights.values() for g in w.gradient)):
        return None
    names = [name for owner in cut for name, _ in _own(vitals, owner)]
    return Finding(
        "graph_cut",
        0.9,
        (
            f"the forward pass goes through {_named(cut)}, and no gradient ever reaches their parameters "
            f"({_share(vitals, names):.0%} of the numbers), though they require one",
        ),
        (remedies.reconnected(),),
        explains=SLOW | {"frozen_parameters", "dead_relu"},
    )


def mode_misuse(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """Dropout and normalisation behave otherwise in evaluation mode."""
    if not vitals.moody:
        return None
    which = _named(vitals.moody)
    modes = vitals.training
    if len(modes) > FEWEST and modes[0] and not any(modes[-FEWEST:]):
        step = vitals.seen[modes.index(False)]
        says = f"from step {step} on the model is trained in evaluation mode ({which}): call model.train() after validation"
        return Finding("mode_misuse", 0.9, (says,), (remedies.default_step(),))
    if len(modes) >= FEWEST and not any(modes):
        says = f"the model is trained in evaluation mode in all {len(modes)} steps that were looked at: {which}"
        return Finding("mode_misuse", 0.75, (says,), (remedies.default_step(),))
    # One pass per step is a teacher or a generator at work; a validation is a row of passes between two steps.
    passes = list(zip(vitals.validated, vitals.validating))
    rows = [[mode for at, mode in passes if at == step] for step in dict.fromkeys(vitals.validated)]
    rows = [row for row in rows if len(row) > 1]
    if rows and len(rows) <= max(1, vitals.steps // 5) and not any(any(row) for row in rows):
        says = f"{len(rows)} validations were made in training mode: {which}"
        return Finding("mode_misuse", 0.8, (says,), (remedies.default_validation(),))
    return None


# ------------------------------------------------------------------------- signs that count only where the loss is bad


def dead_relu(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """DeepDiagnosis and SageMaker Debugger name 70 % and 50 %; wide layers are well with as many resting units. A whole layer
    that died, and outputs that are the same for all rows since, need no loss to tell: that may have fallen before."""
    if loss is None or len(vitals.at) < 2:
        return None
    rectified = {name: layer.silent[-2:] for name, layer in vitals.layers.items() if "relu" in layer.kind.lower()}
    cut = next((name for name, shares in rectified.items() if shares[-1] == 1), "") if _alike(vitals) else ""
    dead = {name: shares for name, shares in rectified.items() if min(shares) >= ALMOST}
    if not cut and (loss.falls or not dead):
        return None
    name, shares = (cut, rectified[cut]) if cut else max(dead.items(), key=lambda item: min(item[1]))
    return Finding(
        "dead_relu",
        0.75 if cut or min(shares) == 1 else 0.65,
        (
            f"{shares[-1]:.0%} of the units of `{name}` are exactly 0 for every row of the batch",
            "the outputs are the same for all rows, and were not at first"
            if cut
            else f"the loss does not fall ({loss.first:.3g} → {loss.last:.3g})",
        ),
        (remedies.default_start(), remedies.activations("leaky_relu")),
        explains=SLOW,
    )


def saturation(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """More than half of the values on the flat ends, from the start: later, units that decide may well lie there."""
    if loss is None or loss.falls or len(vitals.at) < 2:
        return None
    hidden = list(vitals.layers)[:-1]
    # What a layer is given varies from row to row: a gate that is closed by its first bias alone is meant to be.
    driven = [name for before, name in pairwise(hidden) if not vitals.layers[before].rows[0] < 1]
    flat = {n: vitals.layers[n].flat for n in driven if min(vitals.layers[n].flat[:2], default=math.nan) >= 0.5}
    if not flat:
        return None
    name, shares = max(flat.items(), key=lambda item: item[1][0])
    return Finding(
        "saturation",
        0.65,
        (
            f"{shares[0]:.0%} of the values of `{name}` lie within 0.01 of an end at the start, {shares[-1]:.0%} at last",
            f"the loss does not fall ({loss.first:.3g} → {loss.last:.3g})",
        ),
        (remedies.default_start(), remedies.activations("relu")),
        explains=SLOW | {"hidden_activation"},
    )


def vanishing_gradient(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """AUTOTRAINER's ratio of first to last layer, and outputs that hardly depend on the row. An embedding is left out: most
    of its rows are not in a batch, and have no gradient however well it flows."""
    embeddings = {
        f"{name}.weight" for name, layer in vitals.layers.items() if layer.kind in ("Embedding", "EmbeddingBag")
    }
    matrices = [
        (name, w)
        for name, w in vitals.weights.items()
        if len(w.shape) > 1 and w.gradient and w.gradient[0] >= 0 and name not in embeddings
    ]
    if loss is None or loss.falls or len(matrices) < 4 or vitals.output is None:
        return None
    (first, early), (last, late) = matrices[0], matrices[-1]
    ratio = median(_per_number(early)) / max(median(_per_number(late)), 1e-30)
    alike = median(vitals.output.rows) / max(median(vitals.output.size), 1e-30)
    if ratio > 1e-3 or not alike < 0.05:
        return None
    return Finding(
        "vanishing_gradient",
        0.65,
        (
            f"a number of `{first}` gets {ratio:.1g} of the gradient of one of `{last}` (median of {len(vitals.at)} looks)",
            f"outputs differ from row to row by {alike:.1%} of their size",
        ),
        (remedies.activations("relu"), remedies.normalised()),
        explains=SLOW - {"vanishing_gradient"},
    )


def exploding_gradient(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """Spikes of the gradient that throw the loss back."""
    norms = [norm for norm in vitals.gradient if math.isfinite(norm)]
    if loss is None or loss.falls or vitals.broken or len(norms) < 10 or max(norms) < 1000 * max(median(norms), 1e-12):
        return None
    return Finding(
        "exploding_gradient",
        0.6,
        (
            f"the norm of the gradient reaches {max(norms):.3g}, {max(norms) / median(norms):.0f} times its median",
            f"the loss does not fall ({loss.first:.3g} → {loss.last:.3g})",
        ),
        (remedies.clipped(median(norms)),),
    )


def gradient_clip(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """Clipped in nearly every step, to one and the same norm, and steps that are too small for it. The tuning playbook names
    50 % of the steps; with Adam, to whom the scale is nothing, even all may be."""
    shares = vitals.clipped()
    if loss is None or len(shares) < 5 or loss.fall > 0.3 or _warms_up(vitals):
        return None
    shortened = sum(share < 0.99 for share in shares) / len(shares)
    same = 0 < max(vitals.taken) < 1.1 * min(vitals.taken)
    if shortened < ALMOST or median(shares) > 0.1 or not same or not _update_ratio(vitals) < 3e-4:
        return None
    usual = sorted(vitals.gradient)[int(ALMOST * len(vitals.gradient))]
    return Finding(
        "gradient_clip",
        0.75,
        (
            f"{shortened:.0%} of the steps are clipped, to a norm of {median(vitals.taken):.2g} where the median is "
            f"{median(vitals.gradient):.2g}",
            f"a step changes weights by {_update_ratio(vitals):.1g} of their size (median)",
        ),
        (remedies.together(remedies.unclipped(), remedies.clipped(usual)),),
        explains=SLOW,
    )


def lr_high(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """Steps of more than a tenth of the weights (DeepDiagnosis, TheDeepChecker), and a loss that rises, leaps or hovers; or
    one that was thrown far up and then found no more than the best answer that is the same for all rows. A few such steps at
    the start can have killed all units, so that later ones are small."""
    if loss is None or vitals.broken:
        return None
    back = thrown_back(vitals.loss, loss.first)
    if (loss.falls or loss.downwards) and (back is None or loss.fall > LITTLE):
        return None
    large = large_steps(vitals, 0.01 if loss.last > 3 * loss.first else LARGE)
    if not large:
        return None
    if loss.falls:
        said = f"the loss was thrown back ({loss.first:.3g} → {loss.last:.3g}, up to {loss.highest:.3g})"
    else:
        said = f"the loss does not fall ({loss.first:.3g} → {loss.last:.3g}, up to {loss.highest:.3g})"
    return too_fast(0.8, large, said)


def too_fast(confidence: float, *evidence: str) -> Finding:
    """A rate that is too high, and what it explains."""
    explains = SLOW | {"exploding_gradient", "dead_relu", "saturation"}
    return Finding("lr_high", confidence, evidence, (remedies.rate(0.1), remedies.warmed(0.1)), explains=explains)


def large_steps(vitals: Vitals, least: float = LARGE) -> str:
    """How large the steps are; empty where they are less than ``least`` of the weights in the median, and never reach three
    tenths."""
    ratio, largest = _update_ratio(vitals), max(_ratios(vitals), default=math.nan)
    if not (ratio > least or largest > 3 * LARGE):
        return ""
    return (
        f"a step changes weights by {ratio:.1%} of their size (median), by {largest:.1%} where it is most; 0.01 to 1 % is "
        "usual"
    )


def lr_low(vitals: Vitals, loss: Curve | None) -> Finding | None:
    """Steps of less than a hundred-thousandth of the weights, from gradients that are not small, and a loss that comes down
    slowly; or not at all, where all steps together could not have moved a weight by a thousandth."""
    ratio = _update_ratio(vitals)
    if loss is None or loss.fall > 0.1 or not 0 < ratio < 1e-5 or median(vitals.taken) < 1e-3:
        return None
    if _warms_up(vitals):
        return None
    if not loss.downwards and ratio * vitals.steps > 1e-3:
        return None
    return Finding(
        "lr_low",
        0.6,
        (
            f"a step changes weights by {ratio:.1g} of their size (median; 1e-4 to 1e-2 is usual)",
            f"the loss goes from {loss.first:.4g} to {loss.last:.4g} in {vitals.steps} steps",
        ),
        (remedies.rate(10),),
        explains=frozenset({"epochs_few", "underfitting"}),
    )


Sign = Callable[[Vitals, Curve | None], Finding | None]
SIGNS: tuple[Sign, ...] = (
    not_finite,
    zero_grad_missing,
    frozen_parameters,
    graph_cut,
    mode_misuse,
    dead_relu,
    saturation,
    vanishing_gradient,
    exploding_gradient,
    gradient_clip,
    uncorrected_adam,
    lr_high,
    lr_low,
)


# --------------------------------------------------------------------------------------------------------------- numbers


def _ratios(vitals: Vitals) -> list[float]:
    """`Vitals.moves` where anything moved."""
    return [ratio for ratio in vitals.moves() if ratio == ratio]


def _update_ratio(vitals: Vitals) -> float:
    """… and the median over looks. NaN: nobody looked."""
    ratios = _ratios(vitals)
    return median(ratios) if ratios else math.nan


def _per_number(weight: Weight) -> list[float]:
    """Norm of the gradient per entry, so that large and small matrices can be compared."""
    return [norm / math.sqrt(math.prod(weight.shape)) for norm in weight.gradient if norm == norm]


def _warms_up(vitals: Vitals) -> bool:
    """Whether the rate is still rising: steps are small for a while, and meant to be."""
    return vitals.rate[-1] > 1.05 * vitals.rate[len(vitals.rate) // 2]


def _alike(vitals: Vitals) -> bool:
    """Whether outputs that differed from row to row at first are one and the same by now."""
    output = vitals.output
    if output is None:
        return False
    first, last = (output.rows[i] / max(output.size[i], 1e-30) for i in (0, -1))
    return last < SAME < first


def _own(vitals: Vitals, layer: str) -> list[tuple[str, Weight]]:
    return [(name, w) for name, w in vitals.weights.items() if name.rpartition(".")[0] == layer]


def _share(vitals: Vitals, names: list[str]) -> float:
    sizes = {name: math.prod(weight.shape) for name, weight in vitals.weights.items()}
    return sum(sizes[name] for name in names) / max(1, sum(sizes.values()))


def _named(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
