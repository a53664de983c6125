"""``seminal VERB …``: a verb is chosen, and the function in `seminal.runs` that does it is called.

torch takes seconds to import, so nothing is imported here before a verb has been chosen: ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from seminal.cli.verbs import parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb. Exit codes: 0 done, 1 the run failed, 2 a mistake in what was asked, 130 stopped with Ctrl-C."""
    _patient_threads()
    words = _with_hyphens(sys.argv[1:] if arguments is None else arguments)
    asked = parser(words).parse_args(words)
    try:
        return _done(asked)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
        return 0


def _patient_threads() -> None:
    """Threads that wait for one another go to sleep after a moment instead of spinning.

    By default they spin for milliseconds, which on a machine with anything else to do (workers that decode pictures, a
    browser) takes the processor from the very thread that is waited for: four times slower, as measured. It must be said
    before torch is imported; whoever has set these variables knows better."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("KMP_BLOCKTIME", "1")


def _done(asked: argparse.Namespace) -> int:
    from seminal.core import UserError
    from seminal.report.terminal import fail

    try:
        return int(_do(asked) or 0)
    except UserError as error:
        fail(str(error))
        return 2


def _with_hyphens(arguments: Sequence[str]) -> list[str]:
    """``--batch_size`` is accepted for ``--batch-size``."""
    words = []
    for word in arguments:
        flag, equals, value = word.partition("=")
        words.append(flag.replace("_", "-") + equals + value if word.startswith("--") else word)
    return words


def _do(asked: argparse.Namespace) -> int | None:
    if asked.verb in ("list", "show"):
        from seminal.runs import cards

        looks: dict[str, Callable[..., int]] = {"list": cards.show_list, "show": cards.show}
        return looks[asked.verb](**_given(asked))
    if asked.verb == "cost":
        from seminal.runs import cost

        return cost.cost(**_given(asked))
    if asked.verb == "verify":
        from seminal.runs import verifying

        return verifying.verify(**_given(asked))
    if asked.verb == "train":
        from seminal.runs import ordering

        return ordering.train(_given(asked))
    if asked.verb == "resume":
        from seminal.runs import training

        return training.resume(**_given(asked))
    if asked.verb == "import":
        from seminal.runs import asks, importing

        return importing.import_weights(asks.ImportAsk(**_given(asked)))
    if asked.verb in ("translate", "generate"):
        return _write(asked.verb, _given(asked))
    if asked.verb == "fill":
        from seminal.runs import filling

        return filling.fill(filling.FillAsk(**_given(asked)))
    if asked.verb == "explain":
        from seminal.runs import explaining

        return explaining.explain(**_given(asked))
    if asked.verb == "doctor":
        from seminal.runs import doctoring

        return doctoring.doctor(doctoring.DoctorAsk(**_given(asked)))
    if asked.verb == "sample":
        from seminal.runs import sampling

        return sampling.sample(sampling.SampleAsk(**_given(asked)))
    if asked.verb == "score":
        from seminal.runs import scoring

        return scoring.score(scoring.ScoreAsk(**_given(asked)))
    if asked.verb == "same":
        from seminal.runs import comparing

        return comparing.same(comparing.SameAsk(**_given(asked)))
    if asked.verb == "landscape":
        from seminal.runs import landscaping

        return landscaping.landscape(landscaping.LandscapeAsk(**_given(asked)))
    if asked.verb == "export":
        from seminal.runs import exporting

        return exporting.export(**_given(asked))
    from seminal.runs import judging

    if asked.verb == "eval":
        return judging.evaluate(judging.EvalAsk(**_given(asked)))
    if asked.verb == "predict":
        return judging.predict(judging.PredictAsk(**_given(asked)))
    verbs: dict[str, Callable[..., int]] = {"report": judging.report, "compare": judging.compare}
    return verbs[asked.verb](**_given(asked))


def _write(verb: str, given: dict[str, Any]) -> int:
    from seminal.runs import writing

    if verb == "translate":
        return writing.translate(writing.TranslateAsk(**given))
    chance = {name: given.pop(name) for name in ("temperature", "top_k", "top_p", "seed")}
    return writing.generate(writing.GenerateAsk(**given, sampling=writing.Sampling(**chance)))


def _given(asked: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(asked).items() if name != "verb"}
