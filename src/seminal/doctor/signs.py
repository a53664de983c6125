"""What several rules ask: is the program as good as these data allow, and did a change help clearly?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from seminal.doctor import course
from seminal.doctor.chart import Chart
from seminal.doctor.course import Reading
from seminal.doctor.findings import Remedy

CLOSE = 0.06  # of skill: as good as a plain network
GOOD = 0.93  # skill that needs no comparison
TRIAL = 120  # steps that a trial should have, at least
ENOUGH = 0.3  # of skill: a gain that leaves no doubt
HELPS = 0.1  # of skill: a clear gain


def bounded(skill: float) -> float:
    """Worse than a constant answer is worth no more than it; NaN is the worst."""
    return min(1.0, max(-0.2, skill)) if math.isfinite(skill) else -0.2


def skill(chart: Chart) -> float:
    """Of the whole run, on validation data."""
    return bounded(chart.skill(chart.course.last.metric))


def fit(chart: Chart) -> float:
    """Of the whole run, on the training rows themselves."""
    return bounded(chart.skill(chart.course.last.fit))


def allowed(chart: Chart) -> float:
    """The skill that a plain network reaches on the same validation rows; 0 where it has no opinion."""
    opinion = chart.opinion
    if not opinion.known:
        return 0.0
    return bounded((opinion.val_score - opinion.chance) / max(1e-6, 1 - opinion.chance))


def well(chart: Chart) -> bool:
    """Whether the run ended as well as these data allow, as far as one can tell: before it, one cannot. A run that an
    exception cut short did not end."""
    return chart.trains and not chart.crashes and well_at(chart, chart.course.last)


def well_at(chart: Chart, reading: Reading) -> bool:
    """The same of a moment of the run."""
    own = bounded(chart.skill(reading.metric))
    if own >= GOOD:
        return True
    fitted = bounded(chart.skill(reading.fit))
    return fitted > 0.3 and chart.opinion.known and own >= allowed(chart) - CLOSE


def well_by_now(chart: Chart, reading: Reading) -> bool:
    """The same while it trains. A second opinion that nobody has asked for yet is not worth its time before half of the
    run: until then most programs that are well have become good."""
    early = 2 * reading.step < course.length(chart.program) and not chart.has_opinion
    return bounded(chart.skill(reading.metric)) >= GOOD if early else well_at(chart, reading)


def learned(chart: Chart) -> bool:
    """Whether the training rows were learned, or all that these data allow: the General Guide then asks no more about
    optimisation, and looks at what happens on new rows."""
    return well(chart) or fit(chart) >= GOOD


def solved(chart: Chart) -> bool:
    """Whether one of the trials already did as well as these data allow."""
    reached = [bounded(chart.skill(tried.last.metric)) for tried in chart.trials]
    return bool(reached) and max(reached) >= min(GOOD, allowed(chart) - CLOSE if chart.opinion.known else GOOD)


@dataclass(frozen=True)
class Effect:
    """What a change did, at the same step of the same run."""

    before: float  # skill on validation data, or on training rows where that moved more
    after: float
    loss_before: float
    loss_after: float
    steps: int

    @property
    def gain(self) -> float:
        return self.after - self.before

    @property
    def helped(self) -> bool:
        """A tenth of the whole scale, or a third of the error that was left, if that is not nothing."""
        left = 1 - self.before
        return self.gain >= HELPS or (self.gain >= 0.04 and self.gain >= 0.4 * left)

    def told(self, what: str) -> str:
        return (
            f"{what}: skill {self.before:.2f} → {self.after:.2f} after {self.steps} steps "
            f"(loss {self.loss_before:.3g} → {self.loss_after:.3g})"
        )


def share_for(chart: Chart) -> float:
    """How long a trial should be: a quarter of the run, but long enough to show something."""
    total = course.length(chart.program)
    return next((s for s in (1 / 4, 1 / 2) if s * total >= TRIAL), 1.0)


def share_of(chart: Chart, share: float | None = None) -> float:
    """… and no more than the program's own run had."""
    return min(share or share_for(chart), chart.course.share)


def effect(chart: Chart, *remedies: Remedy, share: float | None = None) -> Effect:
    """Try remedies for a part of the run, against the run as it was."""
    share = share_of(chart, share)
    tried = chart.trial(*remedies, share=share)
    was, now = chart.course.near(round(share * chart.course.total)), tried.last
    on_val = (bounded(chart.skill(was.metric)), bounded(chart.skill(now.metric)))
    on_train = (bounded(chart.skill(was.fit)), bounded(chart.skill(now.fit)))
    before, after = max((on_val, on_train), key=lambda pair: pair[1] - pair[0])
    width = max(1, len(tried.losses) // 10)
    return Effect(
        before,
        after,
        _mean(chart.course.losses[: was.step][-width:]),
        _mean(tried.losses[-width:]),
        len(tried.losses),
    )


def best_of(chart: Chart, arms: Sequence[Remedy]) -> tuple[Remedy, Effect]:
    """The first of the arms that helps as much as one could wish, or the best of them all."""
    found: list[tuple[Remedy, Effect]] = []
    for arm in arms:
        found.append((arm, effect(chart, arm)))
        if found[-1][1].gain >= ENOUGH or not chart.in_time:
            break
    return max(found, key=lambda pair: pair[1].gain)


def first(best: Remedy, arms: Sequence[Remedy]) -> tuple[Remedy, ...]:
    """All arms, the best before the others."""
    return (best, *(arm for arm in arms if arm is not best))


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values) if values else math.nan


def confidence(effect: Effect, least: float = 0.6) -> float:
    """The larger the gain, the surer: from ``least`` for a gain that is just clear to 0.93 for one over the whole
    scale."""
    return min(0.93, least + 0.4 * max(0.0, effect.gain - HELPS))
