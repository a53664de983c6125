"""``seminal explain`` for labelled text: the words that decided, in the terminal."""

from __future__ import annotations

from seminal.data.labelled import LabelledEncoder
from seminal.report.data import Evidence
from seminal.report.terminal import say
from seminal.report.texts import deciding
from seminal.runs.evidence import weighed
from seminal.runs.folder import RunFolder
from seminal.runs.machine import device_for
from seminal.runs.plan import Plan, best_model
from seminal.runs.text_predictions import spread_out

GUESSES = 3


def explain_texts(folder: RunFolder, plan: Plan, encoder: LabelledEncoder, texts: list[str], asked: int | None) -> int:
    """For each of ``texts`` (or each line of a file) the likeliest classes, and which words speak for the first of them, or
    for the class ``asked``, and which against it."""
    labels = folder.read_json("labels.json")
    model = best_model(folder, plan, device_for(plan.run.device))
    for text in spread_out(texts, encoder, plan.data.source):
        _, batch = next(encoder.encode([text], 1))
        found = weighed(model, plan.recipe, encoder.text, batch["input"][0])
        ranked = found.whole.argsort(descending=True, stable=True)[:GUESSES].tolist()
        guesses = "  ".join(f"{labels[label]} {float(found.whole[label]):.1%}" for label in ranked)
        say("text", f"{text}  {guesses}", wrap=False)
        label = ranked[0] if asked is None else asked
        say("words", deciding(Evidence(labels[label], found.speaking_for(label))))
    say("numbers", "by how many nats the log-probability falls where the word is replaced by an unknown one")
    return 0
