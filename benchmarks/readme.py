"""The measured part of README.md, written from the JSON of benchmarks/results and experiments/results: nothing is typed.

python benchmarks/readme.py           write it
python benchmarks/readme.py --check   leave with exit code 1 where README.md differs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from measuring import mean95

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BENCHMARKS, EXPERIMENTS = ROOT / "benchmarks" / "results", ROOT / "experiments" / "results"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def measured(benchmarks: Path = BENCHMARKS, experiments: Path = EXPERIMENTS) -> str:
    """The tables of all results there are."""
    parts = {
        benchmarks / "images.json": _images,
        benchmarks / "train_text.json": _train_text,
        benchmarks / "bert.json": _bert,
        benchmarks / "accuracy.json": _accuracy,
        benchmarks / "cifar.json": _accuracy,
        benchmarks / "tables.json": _tables,
        experiments / "sst2.json": _sst2,
        experiments / "bert_pretraining.json": _bert_pretraining,
        experiments / "bert_stability.json": _bert_stability,
        experiments / "multi30k.json": _multi30k,
        benchmarks / "doctor.json": _doctor,
        benchmarks / "healthy.json": _healthy,
        benchmarks / "watching.json": _watching,
        benchmarks / "killed.json": _killed,
    }
    texts = []
    for path, words in parts.items():
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            texts.append("\n".join([*words(result), "", f"`{result['command']}` · {_machine(result['machine'])}"]))
    return "\n\n".join(texts)


def _machine(machine: dict[str, Any]) -> str:
    bf16 = "" if machine["bf16_instructions"] else ", no bf16 instructions"
    versions = f"torch {machine['torch']}, Python {machine['python']}"
    return f"{machine['processor']}, {machine['threads']} threads, {machine['cpu_capability']}{bf16}, {versions}"


def _images(result: dict[str, Any]) -> Iterator[str]:
    yield "**Speed** of `seminal train` with its defaults beside a loop of ImageFolder, Pillow, DataLoader workers, fp32,"
    yield "eager, on the same model and files, in turns."
    yield ""
    heads = [
        "model, batch",
        "precision chosen",
        "images/s",
        "reference",
        "ratio (range, n)",
        "loop's cost over the bare step",
    ]
    yield f"| {' | '.join(heads)} | share of matrix rate |"
    yield "|---|---|---|---|---|---|---|"
    for r in result["results"]:
        ratio, kind = r["ratio"], r["precision"].split()[0]
        yield (
            f"| {r['model']}, {r['pictures']} | {r['precision']} | {r['seminal_images_per_s']['median']:.1f} | "
            f"{r['reference_images_per_s']['median']:.1f} | {_range(ratio)} | "
            f"{r['loop_overhead_of_medians']:.1%} | {r['share_of_matrix_rate'][kind]:.0%} |"
        )


def _train_text(result: dict[str, Any]) -> Iterator[str]:
    data = "sentences made up, as long as those of Multi30k" if result["data"] == "made up" else "the data given"
    yield "**Speed on text**: the training loop beside the same models in Hugging Face's Trainer (rows grouped by length),"
    yield "and beside `torch.nn.Transformer` in a plain loop on our batches. Losses and gradients were equal before; then in"
    yield f"turns, on {data}. Tokens are those to be said, without padding; padding is its share of the batches."
    yield ""
    heads = ["model", "precision", "tokens/s", "Trainer", "plain loop", "ratio to Trainer (range, n)", "to plain loop"]
    yield f"| {' | '.join(heads)} | padding, Trainer's |"
    yield "|---|---|---|---|---|---|---|---|"
    for r in result["rows"]:
        rates = {name: f"{found['median']:,.0f}" for name, found in r["target_tokens_per_s"].items()}
        for mine, ratios in r["ratios"].items():
            precision = "fp32" if mine == "seminal" else r["default_precision"]
            told = [_range(ratios[name]) if name in ratios else "–" for name in ("transformers", "torch")]
            empty = [f"{r['tokens_per_turn'][name]['padding']:.0%}" for name in (mine, "transformers")]
            yield (
                f"| {r['setting']} | {precision} | {rates[mine]} | {rates['transformers']} | {rates.get('torch', '–')} | "
                f"{' | '.join(told)} | {', '.join(empty)} |"
            )


def _bert(result: dict[str, Any]) -> Iterator[str]:
    results = result["results"]
    works, attentions = (list(dict.fromkeys(r[name] for r in results)) for name in ("work", "attention"))
    rounds, theirs = results[0]["ratio"]["n"], " and ".join(attentions)
    yield "**BERT** beside Hugging Face's, on the same weights and tokens, in turns, after both had given the same answers:"
    yield f"times as many sequences a second (range over {rounds} rounds), against its {theirs} attention."
    yield f"Batches of {result['rows']}; what is not a real token is padding, which ours leaves out."
    yield ""
    yield f"| model | batch | real tokens | {' | '.join(f'{work}, {name}' for work in works for name in attentions)} |"
    yield "|" + "---|" * (3 + len(works) * len(attentions))
    for model, batch in dict.fromkeys((r["model"], r["batch"]) for r in results):
        mine = {(r["work"], r["attention"]): r for r in results if (r["model"], r["batch"]) == (model, batch)}
        ratios = [mine[work, name]["ratio"] for work in works for name in attentions]
        told = [f"{r['median']:.2f} ({r['low']:.2f}–{r['high']:.2f})" for r in ratios]
        yield f"| {model} | {batch} | {next(iter(mine.values()))['real_tokens']:.0%} | {' | '.join(told)} |"


def _range(ratio: dict[str, Any]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f}, {ratio['n']})"


def _accuracy(result: dict[str, Any]) -> Iterator[str]:
    recipe, rows, difference = result["recipe"], result["rows"], result["difference"]
    seeds = "1 seed" if difference["n"] == 1 else f"{difference['n']} seeds"
    yield f"**Accuracy**: {result['model']}, {recipe['epochs']} epochs on {rows['train']} pictures of a CIFAR-10 copy"
    yield f"whose pictures are small JPEGs (not comparable with published numbers), {seeds}, mean ± 95 % interval if n > 1."
    yield ""
    yield f"| loop | final top-1 % | minutes until {result['target']:.0%} | minutes in all, validation included |"
    yield "|---|---|---|---|"
    for name in ("seminal", "reference"):
        found = result[name]
        reached = found["seconds_to_target"]
        until = f"{reached['median'] / 60:.1f}" if reached else "not reached"
        whole = found["seconds_whole"]["median"] / 60
        yield f"| {name} | {_pm(found['top1_final'], 100)} | {until} | {whole:.1f} |"
    yield ""
    yield f"Paired by seed, seminal less reference: {_pm(difference, 100)} percentage points."


def _tables(result: dict[str, Any]) -> Iterator[str]:
    yield f"**Tables**, {result['folds']} folds × {result['seeds']} seeds, the same folds for both; mean ± 95 % interval."
    yield ""
    yield "| data | metric | seminal | | scikit-learn | | difference |"
    yield "|---|---|---|---|---|---|---|"
    for r in result["results"]:
        for name, rival in r["scikit-learn"].items():
            yield (
                f"| {r['data']} | {r['metric']} | {r['model']} | {_pm(r['seminal'])} | {name} | {_pm(rival['score'])} | "
                f"{_pm(rival['difference'])} |"
            )


def _sst2(result: dict[str, Any]) -> Iterator[str]:
    rows = result["runs"][0]["rows"]
    yield f"**SST-2**, {rows['train']:,} sentences, good or bad, with default recipes: accuracy on the {rows['test']:,} of"
    yield f"the test set, of the weights that were best on the {rows['val']:,} for validation; mean ± standard deviation."
    yield ""
    yield "| model | year | parameters | test accuracy % | seeds | seconds of training |"
    yield "|---|---|---|---|---|---|"
    for r in result["results"]:
        yield (
            f"| {r['model']} | {r['year']} | {r['parameters'] / 1e6:.2f} M | {_sd(r['top1'], 100)} | {r['top1']['n']} | "
            f"{_sd(r['seconds'])} |"
        )


def _bert_pretraining(result: dict[str, Any]) -> Iterator[str]:
    cells, text = result["cells"], result["settings"]["text"]
    data = list(dict.fromkeys(cell["data"] for cell in cells))
    yield f"**What pre-training is worth**: small BERTs learn from {', '.join(text)} and Python's own help, and are then"
    yield "fine-tuned with the default recipe. Accuracy on the test sets, %; mean ± 95 % interval over the seeds (n)."
    yield ""
    yield f"| | steps of pre-training | {' | '.join(data)} |"
    yield "|" + "---|" * (2 + len(data))
    for learner in dict.fromkeys(cell["learner"] for cell in cells):
        mine = [cell for cell in cells if cell["learner"] == learner]
        before = mine[0]["pre_training"]
        found = [[cell["top1"] for cell in mine if cell["data"] == each] for each in data]
        steps = f"{before['steps']:,}" if before else "–"
        yield f"| {learner} | {steps} | {' | '.join(_mean95(values) for values in found)} |"


def _mean95(values: list[float]) -> str:
    """Shares as per cent; empty where there are none."""
    if not values:
        return ""
    found = mean95(values)
    half = "" if found["half_width_95"] is None else f" ± {100 * found['half_width_95']:.1f}"
    return f"{100 * found['mean']:.1f}{half} ({found['n']})"


def _bert_stability(result: dict[str, Any]) -> Iterator[str]:
    cells, settings = result["cells"], result["settings"]
    seeds = 1 + max(cell["seed"] for cell in cells)
    yield f"**How stable fine-tuning is**: BERT on {settings['data']}, {seeds} seed{'s' * (seeds > 1)}; Adam without its bias"
    yield "correction (BertAdam, as published) and with it (AdamW), all else equal. Accuracy on the test set after the last"
    yield f"step, %; the most frequent class has {cells[0]['majority']:.1%}, and a run that comes no further than one"
    yield "standard error above that has failed."
    yield ""
    yield "| optimiser | epochs | warm-up | test accuracy, mean ± sd | lowest to highest | training loss, median | failed |"
    yield "|---|---|---|---|---|---|---|"
    arms = {(not cell["warmup"], cell["epochs"], cell["optimiser"]) for cell in cells}
    for plain, epochs, optimiser in sorted(arms, key=lambda arm: (*arm[:2], arm[2] != "bertadam")):
        mine = [c for c in cells if (not c["warmup"], c["epochs"], c["optimiser"]) == (plain, epochs, optimiser)]
        top1, loss = [100 * cell["top1"] for cell in mine], median(cell["train_loss"] for cell in mine)
        spread = {"mean": fmean(top1), "sd": stdev(top1) if len(top1) > 1 else None}
        yield (
            f"| {optimiser} | {epochs} | {'no' if plain else 'yes'} | {_sd(spread)} | {min(top1):.1f} to {max(top1):.1f} | "
            f"{loss:.3f} | {sum(cell['failed'] for cell in mine)} of {len(mine)} |"
        )
    yield ""
    yield "![Test accuracy of each seed](experiments/results/bert_stability.svg)"


def _multi30k(result: dict[str, Any]) -> Iterator[str]:
    results = result["results"]
    widths = sorted({score["beam"] for r in results for score in r["scores"]})
    yield "**Multi30k**, English to German, with default recipes, 1 seed: sacreBLEU on the test set of 2016, by the beam of"
    yield "the search and by the weights: best on the validation set, after the last step, or averaged over the last epochs."
    yield ""
    heads = ["model", "minutes of training", "weights", *(f"beam {n}" if n > 1 else "greedy" for n in widths)]
    yield f"| {' | '.join(heads)} | chrF, widest beam |"
    yield "|" + "---|" * (len(heads) + 1)
    for r in results:
        for weights in dict.fromkeys(score["weights"] for score in r["scores"]):
            found = {score["beam"]: score for score in r["scores"] if score["weights"] == weights}
            bleu = [f"{found[n]['sacrebleu']:.2f}" if n in found else "–" for n in widths]
            minutes = f"{r['training_seconds'] / 60:.0f}"
            yield f"| {r['model']} | {minutes} | {weights} | {' | '.join(bleu)} | {found[max(found)]['chrf']:.1f} |"
    yield ""
    _, _, signature = results[0]["scores"][0]["signature"].partition(" · ")  # without the search
    yield f"`{signature}`"


def _doctor(result: dict[str, Any]) -> Iterator[str]:
    found, guess = result["doctor"], result["guesses"][0]
    sick, well = found["top_1"]["n"], found["false_alarms"]["n"]
    yield f"**The doctor** on {sick} programs with known faults, on which its rules were developed (others will do worse),"
    yield f"and on {well} healthy ones beside them; 95 % Wilson intervals."
    yield ""
    yield "| | first finding right | causes found (recall) | findings right (precision) | false alarms |"
    yield "|---|---|---|---|---|"
    for name, scores in (("doctor", found), (f"always says {guess['names'][0]}", guess["scores"])):
        cells = [_share(scores[key]) for key in ("top_1", "recall", "precision", "false_alarms")]
        yield f"| {name} | {' | '.join(cells)} |"
    ratio, seconds = result["times"]["ratio_to_own_training"], result["times"]["seconds"]
    yield ""
    quartiles = f"{ratio['first_quartile']:.1f} to {ratio['third_quartile']:.1f}"
    yield f"It took {ratio['median']:.1f} times the program's own training (median; quartiles {quartiles}),"
    yield f"{seconds['median']:.0f} s in the median."


def _share(scores: dict[str, Any]) -> str:
    return f"{scores['share']:.0%} ({scores['low']:.0%}–{scores['high']:.0%})"


def _healthy(result: dict[str, Any]) -> Iterator[str]:
    alarms = result["programs"]["false_alarms"]
    yield f"**Healthy programs** of many kinds, written for this purpose: false alarms {_share(alarms)}, {alarms['hits']} of"
    yield f"{alarms['n']}. Two rules were mended on them after a first run, so others may do worse."


def _watching(result: dict[str, Any]) -> Iterator[str]:
    yield "**Watching** at its defaults: steps of a watched model over steps of the same model alone, in turns; the weights"
    yield "of both are the same to the bit."
    yield ""
    yield "| model, batch | step | watched / plain (range, n) | the first turn |"
    yield "|---|---|---|---|"
    for row in result["results"]:
        step, ratio = f"{row['step_ms']:.3g} ms", _range(row["ratio"])
        yield f"| {row['model']}, {row['batch']} | {step} | {ratio} | {row['first_turn']:.3f} |"


def _killed(result: dict[str, Any]) -> Iterator[str]:
    wrong = {name for run in result["runs"] for name in run["differences"]}
    same = "NO" if wrong & {"last.safetensors", "best.safetensors"} else "yes"
    once = "NO" if "metrics.csv" in wrong or any(name.startswith("epochs") for name in wrong) else "yes"
    yield f"**Killed** with SIGKILL {result['kills']} times at random instants and resumed. Final weights bit-identical to an"
    yield f"uninterrupted run: {same}. Each epoch once in `metrics.csv`: {once}."


def _pm(values: dict[str, Any], factor: float = 1) -> str:
    half = values["half_width_95"]
    return f"{factor * values['mean']:.3f}" + (f" ± {factor * half:.3f}" if half is not None else "")


def _sd(values: dict[str, Any], factor: float = 1) -> str:
    sd = values["sd"]
    return f"{factor * values['mean']:.1f}" + (f" ± {factor * sd:.1f}" if sd is not None else "")


def rewritten(text: str) -> str:
    """README.md with its measured part anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{measured()}\n{END}{after}"


def run() -> int:
    """Write or check."""
    old = README.read_text(encoding="utf-8")
    new = rewritten(old)
    if "--check" in sys.argv[1:]:
        if new != old:
            print("README.md differs from the results: run `python benchmarks/readme.py`", file=sys.stderr)
        return int(new != old)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(run())
