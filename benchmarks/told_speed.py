"""What the pages say of speed and memory: a function for each file of results gives its lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from told import grid, ratio_of


def images(result: dict[str, Any]) -> Iterator[str]:
    """`seminal train` on pictures, beside a plain loop."""
    yield "**Speed** of `seminal train` with its defaults beside a loop of ImageFolder, Pillow, DataLoader workers, fp32,"
    yield "eager, on the same model and files, in turns."
    heads = ("model, batch", "precision chosen", "images/s", "reference", "ratio (range, n)")
    rows = [
        (
            f"{r['model']}, {r['pictures']}",
            r["precision"],
            f"{r['seminal_images_per_s']['median']:.1f}",
            f"{r['reference_images_per_s']['median']:.1f}",
            ratio_of(r["ratio"]),
            f"{r['loop_overhead_of_medians']:.1%}",
            f"{r['share_of_matrix_rate'][r['precision'].split()[0]]:.0%}",
        )
        for r in result["results"]
    ]
    yield from grid((*heads, "loop's cost over the bare step", "share of the rate of large matrix products"), rows)


def models(result: dict[str, Any]) -> Iterator[str]:
    """The papers' networks beside torchvision's and timm's."""
    kinds = ("train", "infer", "train_default", "infer_default")
    yield "**The papers' networks beside those of torchvision and timm**, on the same random weights, in turns: how many"
    yield "times as many images a second (range, n). The first two are in fp32 with channels in torch's order for both,"
    yield "where the networks make the same operations; the others with our defaults. On large networks a turn is one step,"
    yield "and two or three turns are no more than a look: ranges are wide."
    heads = (
        "model",
        "its peer",
        "batch",
        "training, fp32",
        "inference, fp32",
        "training, defaults",
        "inference, defaults",
    )
    rows = [
        (r["model"], r["peer"], r["batch"], *(ratio_of(r[kind]["ratio"]) for kind in kinds)) for r in result["results"]
    ]
    means = [f"**{result['geometric_mean'][kind]:.2f}**" for kind in kinds]
    yield from grid(heads, [*rows, ("geometric mean", "", "", *means)])


def train_text(result: dict[str, Any]) -> Iterator[str]:
    """Training on sentences, beside Hugging Face's Trainer and a plain loop."""
    data = "sentences made up, as long as those of Multi30k" if result["data"] == "made up" else "the data given"
    yield "**Speed on text**: the training loop beside the same models in Hugging Face's Trainer (rows grouped by length),"
    yield "and beside `torch.nn.Transformer` in a plain loop on our batches. Losses and gradients were equal before; then in"
    yield f"turns, on {data}. Tokens are those to be said, without padding; padding is its share of the batches."
    heads = ("model", "precision", "tokens/s", "Trainer", "plain loop", "ratio to Trainer (range, n)", "to plain loop")
    rows = []
    for r in result["rows"]:
        rates = {name: f"{found['median']:,.0f}" for name, found in r["target_tokens_per_s"].items()}
        for mine, ratios in r["ratios"].items():
            precision = "fp32" if mine == "seminal" else r["default_precision"]
            told = [ratio_of(ratios[name]) if name in ratios else "–" for name in ("transformers", "torch")]
            empty = [f"{r['tokens_per_turn'][name]['padding']:.0%}" for name in (mine, "transformers")]
            theirs = (rates["transformers"], rates.get("torch", "–"))
            rows.append((r["setting"], precision, rates[mine], *theirs, *told, ", ".join(empty)))
    yield from grid((*heads, "padding, Trainer's"), rows)


def decode(result: dict[str, Any]) -> Iterator[str]:
    """Translation, beside Hugging Face's generate and CTranslate2."""
    yield "**Translating**: tokens a second with the same Marian weights and the same lengths, beside Hugging Face's"
    yield "`generate` and CTranslate2, which is written in C++ and is the limit to approach; median of rounds in turns."
    heads = ("sentences, search", "tokens/s", "× transformers (range, n)", "× CTranslate2", "× without the cache")
    names = ("transformers", "ctranslate2", "without cache")
    rows = [
        (
            r["setting"],
            f"{r['tokens_per_s']['seminal']['median']:,.0f}" if "seminal" in r["tokens_per_s"] else "–",
            *(ratio_of(r["ratios"][name]) if name in r["ratios"] else "–" for name in names),
        )
        for r in result["rows"]
    ]
    yield from grid(heads, rows)


def bert(result: dict[str, Any]) -> Iterator[str]:
    """Against Hugging Face's BERT."""
    results = result["results"]
    works, attentions = (list(dict.fromkeys(r[name] for r in results)) for name in ("work", "attention"))
    rounds, theirs = results[0]["ratio"]["n"], " and ".join(attentions)
    yield "**BERT** beside Hugging Face's, on the same weights and tokens, in turns, after both had given the same answers:"
    yield f"times as many sequences a second (range over {rounds} rounds), against its {theirs} attention."
    yield f"Batches of {result['rows']}; what is not a real token is padding, which ours leaves out."
    rows = []
    for model, batch in dict.fromkeys((r["model"], r["batch"]) for r in results):
        mine = {(r["work"], r["attention"]): r for r in results if (r["model"], r["batch"]) == (model, batch)}
        ratios = [mine[work, name]["ratio"] for work in works for name in attentions]
        told = [f"{r['median']:.2f} ({r['low']:.2f}–{r['high']:.2f})" for r in ratios]
        rows.append((model, batch, f"{next(iter(mine.values()))['real_tokens']:.0%}", *told))
    heads = ("model", "batch", "real tokens", *(f"{work}, {name}" for work in works for name in attentions))
    yield from grid(heads, rows)


def word2vec(result: dict[str, Any]) -> Iterator[str]:
    """Words a second, beside gensim."""
    rates = {name: f"{found['median']:,.0f}" for name, found in result["words_per_processor_s"].items()}
    yield f"**word2vec** beside gensim on {result['text']}, {result['vocabulary']:,} words in the vocabulary: words per"
    yield f"second of processor time. {result['note'][0].upper()}{result['note'][1:]}."
    yield from grid(("seminal", "gensim", "ratio (range, n)"), [(*rates.values(), ratio_of(result["ratio"]))])


def densenet_memory(result: dict[str, Any]) -> Iterator[str]:
    """What a dense block keeps for the backward pass."""
    exponents = result["growth_exponents"]
    apart = max(found["gradients"] for found in result["largest_relative_difference"].values())
    yield f"**Memory of a dense block** ({result['block']}): what is kept for the backward pass, and the peak,"
    yield "plain, with shared memory as the authors propose, and with torch's checkpoints. Outputs are equal;"
    yield f"gradients differ by {apart:.1e} at most."
    rows = [
        (
            block["form"],
            str(block["layers"]),
            *(
                f"{block[f'{name}_bytes'] / 2**20:.1f} MiB"
                for name in ("calculated_temporaries", "kept_for_backward", "peak")
            ),
        )
        for block in result["blocks"]
    ]
    yield from grid(("form", "layers", "temporaries, calculated", "kept, measured", "peak, measured"), rows)
    yield ""
    grown = ", ".join(f"{form} L^{found['kept']:.2f}" for form, found in exponents.items())
    yield f"What is kept grows as: {grown}. A step takes, as a multiple of the plain block's (range, n):"
    forms = list(result["steps"][0]["ratio_to_plain"])
    rows = [
        (f"{step['network']}, {step['pictures']}", *(ratio_of(step["ratio_to_plain"][form]) for form in forms))
        for step in result["steps"]
    ]
    yield from grid(("network", *forms), rows)


def guidelines(result: dict[str, Any]) -> Iterator[str]:
    """ShuffleNet v2's four guidelines on this machine."""
    yield "**The guidelines of ShuffleNet V2** (Ma et al. 2018, Sec. 2) on this machine: speed at equal multiply-adds as a"
    yield f"multiple of the first row's, {result['rounds']} rounds in turns; channels in parentheses."
    rows: dict[tuple[str, str], list[str]] = {}
    for r in result["results"]:
        told = f"{r['relative_speed']['median']:.2f} ({r['channels']})"
        rows.setdefault((r["guideline"], r["setting"]), []).append(told)
    width = max(map(len, rows.values()))
    yield from grid(
        ("guideline", "setting", "small", "medium", "large")[: 2 + width], [(*key, *row) for key, row in rows.items()]
    )
    yield ""
    says = "; ".join(
        f"{name}: {found['yes']} yes, {found['no']} no, {found['unclear']} unclear"
        for name, found in result["verdicts"].items()
    )
    yield f"Does the machine agree with the paper's order? {says}."
