"""BERT beside itself: packed and padded rows, what may be seen, its heads; its recipes and its Adam; and weights that go from
one head to another. `test_weights_bert` has it beside Hugging Face's."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from command_line import QUICK, done, typed
from peers import shaken
from seminal.core import DataSpec, Masking, Optim, Transfer, UserError
from seminal.papers import bert
from seminal.papers.bert import Bert
from seminal.pieces.adam import excess
from seminal.pieces.packing import Packing, picked
from seminal.pieces.tokens import BEGIN, END, PAD
from seminal.recipes import bert as recipes
from seminal.runs.folder import RunFolder
from seminal.runs.plan import best_model, plan_of
from seminal.train.bert_adam import BertAdam
from seminal.train.optimisers import optimisers
from seminal.train.state import State
from seminal.train.transfer import layers_above, prepared
from texts import DOES, THINGS, WORDS, head_alone_learns, pretraining, stories

pytestmark = pytest.mark.usefixtures("one_thread")

V = 31
SMALL = replace(bert.BASE, vocabulary=V, layers=3, width=24, inner=40, heads=2, longest=20)
HEADS = {"words": 2, "class": 3, "tags": 4, "span": 2, "choice": 1}
NETWORKS = [
    pytest.param(replace(SMALL, head=head, outputs=outputs, ablation=ablation), id=f"{head} {ablation}".strip())
    for head, outputs in HEADS.items()
    for ablation in ("", "ltr", "ltr+bilstm", "features", "features-sum")
]


def born(config, seed=0):
    torch.manual_seed(seed)
    return shaken(Bert(config), seed)


def rows(*lengths, seed=1):
    """A text of two parts for each length, padded to the longest."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        text[row, :length] = torch.randint(4, V, (length,), generator=generator)
        text[row, 0], text[row, length // 2], text[row, length - 1] = BEGIN, END, END
    return text


# ------------------------------------------------------------------------------------------------- packed and padded


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 3))
def test_packing_is_boolean_indexing(lengths, more):
    text = torch.zeros(len(lengths), max(lengths) + more, dtype=torch.long)
    for row, length in enumerate(lengths):
        text[row, :length] = 5
    rows, x = Packing.of(text), torch.randn(*text.shape, 2)
    assert torch.equal(rows.packed(x), x[text != PAD])
    assert torch.equal(rows.spread(rows.packed(x)), x * (text != PAD)[:, :, None])
    assert rows.lengths.tolist() == lengths
    ends = torch.tensor(lengths).cumsum(0)
    assert (rows.first.tolist(), rows.last.tolist()) == ((ends - torch.tensor(lengths)).tolist(), (ends - 1).tolist())
    some = torch.rand(sum(lengths)) < 0.5
    assert torch.equal(picked(rows.packed(x), some), rows.packed(x)[some])


def test_rows_without_padding_are_views():
    text, x = rows(6, 6), torch.randn(2, 6, 3)
    packing = Packing.of(text)
    assert packing.mask is None
    assert packing.packed(x).data_ptr() == packing.spread(packing.packed(x)).data_ptr() == x.data_ptr()


@pytest.mark.parametrize("config", NETWORKS)
def test_a_row_says_the_same_alone_and_between_longer_ones(config):
    model, text = born(config), rows(5, 12, 3, 9)
    text = text[:, None] if config.head == "choice" else text
    together, padded = model(text), model(F.pad(text, (0, 4)))
    for row, length in enumerate((5, 12, 3, 9)):
        alone = model(text[row : row + 1, ..., :length])[0]
        for found in (together[row], padded[row]):
            inside = found if config.head in ("class", "choice") else found[:length]
            torch.testing.assert_close(inside, alone, rtol=1e-5, atol=2e-6)


def test_gradients_are_those_of_each_row_alone():
    model, text = born(replace(SMALL, head="tags", outputs=4)), rows(5, 12, 3)
    weights = torch.randn(3, 12, 4, generator=torch.Generator().manual_seed(2))
    (model(text) * weights).sum().backward()
    together = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    for row, length in enumerate((5, 12, 3)):
        (model(text[row : row + 1, :length]) * weights[row, :length]).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            together[name], parameter.grad, rtol=1e-4, atol=1e-5 * float(parameter.grad.abs().max())
        )


# ------------------------------------------------------------------------------------------------- what is seen


def test_the_second_part_begins_after_the_first_end():
    model, text = born(SMALL), torch.tensor([[BEGIN, 7, END, 8, END, 9, PAD]])
    packed, table = Packing.of(text), model.embeddings
    segments = torch.tensor([0, 0, 0, 1, 1, 1])
    wanted = table.tokens.weight[text[0, :6]] + table.positions.weight[:6] + table.segments.weight[segments]
    torch.testing.assert_close(table(text, packed), table.norm(wanted))


@settings(max_examples=15, deadline=None)
@given(place=st.integers(1, 10), other=st.integers(4, V - 1))
def test_left_to_right_never_looks_right(place, other):
    text = rows(11, 11)
    changed = text.clone()
    changed[:, place] = other
    model = born(replace(SMALL, next_sentence=False, ablation="ltr"))
    with torch.no_grad():
        assert torch.equal(model(changed)[:, :place], model(text)[:, :place])


def test_left_to_right_the_class_is_of_the_only_token_that_has_seen_all():
    text = rows(9, 5)
    for row, length in enumerate((9, 5)):
        for place in range(1, length):
            other = text.clone()
            other[row, place] = 4 + (other[row, place] + 1) % (V - 4)
            for ablation in ("", "ltr"):
                model = born(replace(SMALL, head="class", ablation=ablation))
                changed = (model(text) - model(other)).abs().amax(1) > 1e-6
                assert changed.tolist() == [row == 0, row == 1]


@pytest.mark.parametrize("follows", [True, False])
def test_said_is_forward_at_the_chosen_places(follows):
    model, text = born(replace(SMALL, next_sentence=follows)), rows(12, 7, 4)
    chosen = (torch.rand(text.shape) < 0.4) & (text != PAD)
    words, pairs = model(text, chosen)
    torch.testing.assert_close(words, model(text)[chosen])
    assert (pairs is None) != follows
    if follows:
        states = model.states(text, Packing.of(text))[-1]
        pooled = torch.tanh(model.pooler(states[[0, 12, 19]]))
        torch.testing.assert_close(pairs, model.head.follows(pooled))


def test_features_are_the_last_four_layers():
    config = replace(SMALL, layers=6, head="tags", outputs=4)
    text = rows(8, 5)
    for ablation, joined in (("features", lambda last: torch.cat(last, -1)), ("features-sum", sum)):
        model = born(replace(config, ablation=ablation))
        packing = Packing.of(text)
        last = [packing.spread(x) for x in model.states(text, packing)[-4:]]
        assert len(model.head.top.forwards) == 2
        wanted = model.head.linear(model.head.top(joined(last), packing.lengths)[0])
        torch.testing.assert_close(packing.packed(model(text)), packing.packed(wanted))


def test_more_tokens_than_positions_are_refused():
    model = born(SMALL)
    assert model(rows(20)).shape == (1, 20, V)
    with pytest.raises(UserError, match="text of 21 tokens is longer than the 20 places"):
        model(rows(21))


# ------------------------------------------------------------------------------------------------- data and recipes


def spec(kind, tokens=90_000, longest=64, **more):
    classes = ("a", "b", "c") if kind in ("labelled", "tagged") and not more else ()
    return DataSpec(
        "data", kind, {"train": 1000, "val": 100}, (), classes, (400, 300, 300)[: len(classes)],
        vocabulary={"text": 500}, longest={"text": longest}, tokens={"train": tokens, "val": 900}, batched_by="tokens",
        **more,
    )  # fmt: skip


NUMBER = spec("labelled", target_names=("score",), target_mean=(2.0,), target_std=(1.0,))
KINDS = {
    "words": (spec("documents"), "MaskedLanguage"),
    "class": (spec("labelled"), "Classification"),
    "number": (NUMBER, "Regression"),
    "tags": (spec("tagged"), "Tagging"),
    "span": (spec("questions"), "Answers"),
    "choice": (spec("choices"), "Choice"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("recipe", ["paper", "modern"])
def test_each_form_of_data_has_its_head_and_its_task(name, recipe):
    data, task = KINDS[name]
    made = vars(recipes)[recipe]("bert", data).adapted(data)
    config = made.model
    assert type(made.task).__name__ == task
    assert config.head == {"number": "class"}.get(name, name)
    assert config.outputs == {"class": 3, "tags": 3, "number": 1, "choice": 1}.get(name, 2)
    assert config.vocabulary == 500
    shape = tuple(Bert(replace(config, layers=1, width=8, inner=8, heads=2))(*config.example(2)).shape)
    assert shape == {"words": (2, 25, 500), "class": (2, 3), "number": (2, 1), "choice": (2, 4)}.get(
        name, (2, 25, config.outputs)
    )


def test_few_texts_are_read_more_often_and_waited_for_as_much_longer():
    rows = {10_000: 900_000, 200: 18_000}  # tokens
    sets = [replace(spec("labelled", tokens), counts={"train": count, "val": 100}) for count, tokens in rows.items()]
    many, few = (recipes.modern("bert", data).adapted(data) for data in sets)
    assert (many.epochs, many.patience) == (10, 3)
    assert few.epochs * (18_000 // few.batch) >= 600
    assert few.patience / few.epochs == pytest.approx(3 / 10, abs=1 / few.epochs)
    assert replace(recipes.modern("bert", spec("labelled")), patience=None).adapted(spec("labelled")).patience is None


def test_other_data_are_refused():
    with pytest.raises(UserError, match="`transformer` for sentence pairs"):
        SMALL.fitted(replace(spec("documents"), kind="pairs"))
    with pytest.raises(UserError, match="--max-length 20"):
        SMALL.fitted(spec("labelled", longest=21))


def test_the_papers_numbers():
    books = spec("documents", longest=512, tokens=3_300_000_000)
    first = recipes.paper("bert-base", books).adapted(books)
    assert (first.lr, first.steps, first.batch, first.body_rate) == (1e-4, 1_000_000, 256 * 512, 1)
    factors = [first.schedule(step, first.steps, ()) for step in (4_999, 9_999, 505_000, 999_999)]
    assert factors == pytest.approx([0.5, 1, 0.5, 0], abs=1e-4)
    assert not first.departures
    assert first.optim == Optim("bertadam", betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01, decay_all=False)
    second = recipes.paper("bert-base", spec("labelled")).adapted(spec("labelled"))
    assert (second.epochs, second.lr, second.batch, second.body_rate) == (3, 5e-5, 32 * 90, 1)  # 90 tokens in a text
    third = recipes.paper("bert-base", spec("choices"))
    assert (third.epochs, third.lr, third.batch) == (3, 2e-5, 16 * 90)
    assert len(recipes.paper("bert-whole-word", books).departures) == 1


def test_small_texts_get_small_networks_unless_a_size_is_named():
    sizes = {name: recipes.modern(name, spec("documents")).model.width for name in bert.VARIANTS}
    assert {name for name, width in sizes.items() if width == 128} == {
        "bert-tiny", *(name for name in bert.VARIANTS if bert.VARIANTS[name].width == 768 and name != "bert-base")
    }  # fmt: skip
    assert recipes.modern("bert", spec("documents", tokens=10**9)).model == bert.BASE


def test_the_variants_read_as_the_ablations_say():
    found = {name: recipes.reading(name) for name in bert.VARIANTS}
    assert all(reading.framed and reading.tokens == "uncased" for reading in found.values())
    assert {name for name, reading in found.items() if reading.masking is None} == {"bert-ltr", "bert-ltr-bilstm"}
    assert found["bert-always-mask"].masking == Masking(masked=1, random=0)
    assert found["bert-whole-word"].masking == Masking(whole_words=True)
    assert not found["bert-no-nsp"].next_sentence
    assert found["bert"].masking == Masking(share=0.15, masked=0.8, random=0.1)


# ------------------------------------------------------------------------------------------------- BertAdam


def naive(value, gradients, lr, decay, betas=(0.9, 0.999), eps=1e-6):
    mean = square = 0.0
    for gradient in gradients:
        mean = betas[0] * mean + (1 - betas[0]) * gradient
        square = betas[1] * square + (1 - betas[1]) * gradient**2
        value = value - lr * (mean / (math.sqrt(square) + eps) + decay * value)
    return value


def test_bert_adam_is_its_equation_in_each_group():
    generator = torch.Generator().manual_seed(0)
    matrix, bias = (torch.nn.Parameter(torch.randn(*shape, generator=generator).double()) for shape in ((3, 2), (4,)))
    idle = torch.nn.Parameter(torch.ones(2))
    before = [p.detach().clone() for p in (matrix, bias)]
    optim = Optim("bertadam", eps=1e-6, weight_decay=0.1, decay_all=False)
    (optimiser,) = optimisers({"model": [matrix, bias, idle]}, optim, {bias: 0.5}).values()
    assert isinstance(optimiser, BertAdam)
    told: list[list[torch.Tensor]] = []
    for _ in range(20):
        told.append([torch.randn(p.shape, generator=generator).double() for p in (matrix, bias)])
        for parameter, gradient in zip((matrix, bias), told[-1]):
            parameter.grad = gradient.clone()
        for group in optimiser.param_groups:
            group["lr"] = 0.01 * group["rate"]
        optimiser.step()
    for i, (parameter, lr, decay) in enumerate(((matrix, 0.01, 0.1), (bias, 0.005, 0.0))):
        for place, value in enumerate(before[i].flatten().tolist()):
            wanted = naive(value, [step[i].flatten()[place].item() for step in told], lr, decay)
            assert parameter.flatten()[place].item() == pytest.approx(wanted, rel=1e-9)
    assert torch.equal(idle, torch.ones(2))


def test_bert_adam_steps_too_far_by_the_factor_that_adamw_corrects():
    gradients = torch.randn(400, 5, generator=torch.Generator().manual_seed(0)).double()
    ours, theirs = (torch.nn.Parameter(torch.zeros(5).double()) for _ in range(2))
    one = BertAdam([{"params": [ours]}], 1e-3, eps=0.0)
    other = torch.optim.AdamW([theirs], lr=1e-3, eps=0.0, weight_decay=0.0)
    for step, gradient in enumerate(gradients, start=1):
        before = [p.detach().clone() for p in (ours, theirs)]
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        one.step()
        other.step()
        torch.testing.assert_close(ours - before[0], (theirs - before[1]) * excess(step))
    steps = range(1, 2000)
    assert max(steps, key=excess) == 12
    assert [excess(step) for step in (1, 12, 300)] == pytest.approx([3.2, 6.6, 2.0], abs=0.05)


def test_bert_adam_goes_on_from_a_checkpoint(tmp_path):
    _, recipe, model = pretraining(tmp_path)
    recipe = replace(recipe, optim=recipes.BERT_ADAM)

    def moved(state, steps):
        (optimiser,) = state.optimisers.values()
        for seed in steps:
            generator = torch.Generator().manual_seed(seed)
            for parameter in state.model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            for group in optimiser.param_groups:
                group["lr"] = 0.01
            optimiser.step()
        return {name: t.clone() for name, t in state.tensors().items()}

    straight = State.fresh(model, recipe)
    half = moved(straight, range(3))
    whole = moved(straight, range(3, 6))
    again = State.fresh(Bert(recipe.model), recipe)
    again.restore(half, straight.counters())
    found = moved(again, range(3, 6))
    assert found.keys() == whole.keys()
    assert any(name.endswith("/square") for name in found)
    assert all(torch.equal(found[name], whole[name]) for name in whole)


# ------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("ablation", ["", "ltr", "features"])
@pytest.mark.parametrize("head", HEADS)
def test_one_batch_is_learned_by_heart(head, ablation):
    torch.manual_seed(0)
    config = replace(
        SMALL, layers=2, head=head, outputs=HEADS[head], dropout=0.0, attention_dropout=0.0, ablation=ablation
    )
    model, text = Bert(config), rows(6, 11, 8, 9)
    text = text.view(2, 2, -1) if head == "choice" else text
    wanted = {"class": torch.tensor([0, 1, 2, 1]), "choice": torch.tensor([1, 0]), "span": text[:, :2] % 6}
    target = wanted.get(head, (text % HEADS[head] if head == "tags" else text).masked_fill(text == PAD, -100))
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    for step in range(120):
        optimiser.param_groups[0]["lr"] = 5e-3 * min(1, (step + 1) / 20)
        logits = model(text)
        classes = logits if head in ("class", "choice", "span") else logits.transpose(1, 2)
        loss = F.cross_entropy(classes, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1


# ------------------------------------------------------------------------------------------------- weights that travel


def test_rates_fall_from_layer_to_layer():
    model = Bert(replace(SMALL, head="class"))
    above = layers_above(model)
    assert {above[f"embeddings.{name}.weight"] for name in ("tokens", "positions", "segments", "norm")} == {3}
    assert [above[f"layers.{i}.feed_forward.inner.weight"] for i in range(3)] == [2, 1, 0]
    assert above["pooler.weight"] == above["head.linear.bias"] == 0
    head = ("head.linear.weight", "head.linear.bias")
    rates = prepared(model, Transfer("run", head=head, body_rate=0.5, layer_decay=0.8))
    found = {name: rates[parameter] for name, parameter in model.named_parameters()}
    assert found["head.linear.weight"] == 1
    assert found["pooler.weight"] == found["layers.2.attention.inside.bias"] == 0.5
    assert found["layers.0.attention.inside.bias"] == pytest.approx(0.5 * 0.8**2)
    assert found["embeddings.tokens.weight"] == pytest.approx(0.5 * 0.8**3)


def test_a_frozen_body_drops_nothing():
    model = Bert(replace(SMALL, head="tags", outputs=4, ablation="features"))
    head_alone_learns(model, rows(9, 4))


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with the run `pre`, which read 20 documents once, and data for each head."""
    folder = tmp_path_factory.mktemp("bert")
    stories(folder)
    lines = [(w, t, d) for w in WORDS for t in THINGS for d in DOES]
    table = [f"{' '.join(line)}\t{int(line[0] in ('a', 'the'))}" for line in lines]
    (folder / "set.tsv").write_text("\n".join(["text\tlabel", *table]) + "\n")
    tags = ["\n".join(f"{word}\t{'DNV'[i]}" for i, word in enumerate(line)) for line in lines]
    (folder / "tags.conll").write_text("\n\n".join(tags) + "\n")
    done(
        "train",
        "bert-no-nsp",
        "stories.txt",
        "--epochs",
        "1",
        "--max-length",
        "32",
        "--name",
        "pre",
        *QUICK,
        folder=folder,
    )
    return folder


def model_of(folder, name):
    run = RunFolder.existing(folder / "runs" / name)
    return plan_of(run).recipe, best_model(run, plan_of(run), torch.device("cpu"))


def tuned(folder, variant, data, name, *words):
    out = done(
        "train", variant, data, "--from", "runs/pre", "--epochs", "1", "--name", name, *words, *QUICK, folder=folder
    )
    return out, *model_of(folder, name)


@pytest.mark.parametrize(("width", "rate"), [(32, 1.0), (128, 0.6), (256, 0.3), (768, 0.1), (1024, 0.075)])
def test_a_narrow_network_goes_on_in_larger_steps(width, rate):
    recipe = replace(recipes.modern("bert", spec("labelled")), model=replace(bert.BASE, width=width))
    assert recipes.begun(recipe).body_rate == pytest.approx(rate)
    for other in (recipes.paper("bert", spec("labelled")), replace(recipe, body_rate=1.0)):
        assert recipes.begun(other) == other


def test_weights_go_from_words_to_any_head_and_on(begun):
    _, before = model_of(begun, "pre")
    out, recipe, model = tuned(begun, "bert-no-nsp", "set.tsv", "classes", "--layer-decay", "0.5", "--lr", "1e-7")
    assert "a new head of 2 outputs" in out
    assert "each layer learns at 0.5 of the rate of the next" in out
    assert recipe.model == replace(before.config, head="class", outputs=2)
    anew = {"head.linear.weight", "head.linear.bias", "pooler.weight", "pooler.bias"}
    assert set(recipe.transfer.anew) == set(recipe.transfer.head) == anew
    share = min(1.0, recipes.LEARNED * 768 / before.config.width)  # 5e-5 in a network as wide as the paper's
    assert (recipe.transfer.body_rate, recipe.transfer.layer_decay) == (share, 0.5)
    for name, value in before.state_dict().items():
        if not name.startswith("head."):
            torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=1e-4)
    # … and the pooler is taken along from there, the classes' head with it; not to tags, which know other classes.
    again = ("train", "bert-no-nsp", "set.tsv", "--from", "runs/classes", "--epochs", "1", "--lr", "1e-7", *QUICK)
    assert "new head" not in done(*again, "--name", "again", folder=begun)
    torch.testing.assert_close(model_of(begun, "again")[1].state_dict(), model.state_dict(), rtol=0, atol=1e-4)
    tags = ("train", "bert-no-nsp", "tags.conll", "--from", "runs/classes", "--epochs", "1", *QUICK)
    assert "a new head of 3 outputs" in done(*tags, "--name", "tags", folder=begun)
    assert model_of(begun, "tags")[0].transfer.anew == ("head.linear.bias", "head.linear.weight")


def test_features_of_a_frozen_network(begun):
    _, before = model_of(begun, "pre")
    out, recipe, model = tuned(begun, "bert-features", "tags.conll", "features", "--freeze", "--recipe", "paper")
    assert "all but the head is frozen" in out
    assert recipe.model.ablation == "features"
    assert recipe.model.width == before.config.width
    after = model.state_dict()
    for name, value in before.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(after[name], value), name


def test_mistakes_are_told(begun):
    other = typed("train", "bert-mini", "set.tsv", "--from", "runs/pre", folder=begun)
    assert other.code == 2
    assert "is a run of bert-no-nsp, another network than bert-mini" in other.err
    for words, said in ((("--layer-decay", "2", "--from", "runs/pre"), "--layer-decay 2.0 makes no sense"),
                        (("--layer-decay", "0.5"), "--layer-decay is about weights that were learned before")):  # fmt: skip
        got = typed("train", "bert-no-nsp", "set.tsv", *words, folder=begun)
        assert (got.code, said in got.err) == (2, True), got.err
