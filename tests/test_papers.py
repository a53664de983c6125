"""Every paper, unasked: a new file in ``papers/`` is tested by being there."""

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import math
import pkgutil
import sys

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

import seminal.papers
from seminal.core import DataSpec, Departure, UserError
from texts import text_spec

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = [module.name for module in pkgutil.iter_modules(seminal.papers.__path__)]
PAPERS = {name: importlib.import_module(f"seminal.papers.{name}") for name in NAMES}
VARIANTS = [(paper, name) for paper in NAMES for name in PAPERS[paper].PAPER.variants]
# A paper's table may have dozens of rows of one kind: `make test` brings the first ones to life, `make test-all` and
# `seminal verify` all.
ROWS = 2
LARGE = ("gpt2-medium", "gpt2-large", "gpt2-xl", "zaremba-large")  # gigabytes of weights
LIVELY = [
    pytest.param(paper, name, marks=pytest.mark.slow if i >= ROWS or name in LARGE else ())
    for paper in NAMES
    for i, name in enumerate(PAPERS[paper].PAPER.variants)
]
FACTS = [(paper, i) for paper in NAMES for i in range(len(PAPERS[paper].PAPER.facts))]

# What differs from the paper before any data are seen; a variant that is not here follows it in all that it states.
KNOWN_DEPARTURES = {
    "mlp": 1,  # sizes
    "mlp-relu": 3,  # sizes, units, start
    "alexnet": 1,  # 227 pixels
    "alexnet-onetower": 2,
    "resnet18": 1,  # option B
    "resnet50-v1.5": 1,
    "resnet101-v1.5": 1,
    "resnet152-v1.5": 1,
    **dict.fromkeys(("vgg11", "vgg11-lrn", "vgg13", "vgg16-c", "vgg16", "vgg19"), 1),  # Glorot's start
    **dict.fromkeys(("vgg11-bn", "vgg13-bn", "vgg16-bn", "vgg19-bn"), 2),
    "alexnet-owt": 1,  # 227 pixels
    "alexnet-torchvision": 6,
    "preresnet50-v1.5": 3,  # not of the paper's tables, timm's strides, timm's pooling
    "preresnet101-v1.5": 3,
    "preresnet152-v1.5": 2,
    "resnext101-32x8d": 1,
    **dict.fromkeys(("se-inception", "senet154"), 1),
    **dict.fromkeys((f"se-resnet{depth}-{form}" for depth in (50, 101, 152) for form in ("v1.5", "caffe")), 1),
    **dict.fromkeys((f"se-resnext{depth}-32x4d-caffe" for depth in (50, 101)), 1),
    "senet154-caffe": 2,
    "googlenet-separable": 1,
    "googlenet-torchvision": 6,
    **dict.fromkeys(
        (f"shufflenet-{v}" for v in ("g1-0.25x", "g3-0.25x", "g3-1.5x", "g8-0.5x", "g8-0.25x")), 1
    ),  # conv1
    **dict.fromkeys((f"shufflenet-{v}-noshuffle" for v in ("g3-0.25x", "g8-0.5x", "g8-0.25x")), 1),
    **dict.fromkeys((f"shufflenet-v2-{v}-torchvision" for v in ("1x", "1.5x", "2x")), 1),
    **{"elman": 4, "lstm": 5, "lstm-1997": 2, "birnn": 1, "bilstm": 2, "gru": 3, "bigru": 4, "gru-2014": 1},  # for text
    "transformer-marian": 3,  # sines before cosines, biases, swish
    "transformer-torch": 2,  # biases, one more normalisation
    "transformer-encoder": 2,  # no decoder, sizes
    "transformer-encoder-base": 1,
    **{"gan": 1, "gan-convolutional": 1, "dcgan": 1},  # first biases; the range of pictures; a normalisation
    **{"cbow": 1, "skip-gram": 1, "word2vec-cbow": 1},  # a full softmax; CBOW
    **dict.fromkeys((f"bert-{size}" for size in ("tiny", "mini", "small", "medium")), 1),  # sizes of Turc et al. 2019
    **dict.fromkeys(("elmo-small", "elmo-medium"), 1),  # sizes
    **dict.fromkeys((f"autoencoder{form}" for form in ("", "-2", "-curves", "-faces")), 1),  # no pre-training
}
GAMES = ("gan", "conditional_gan", "dcgan")  # these give logits on real pictures and on generated ones
REBUILD = ("autoencoder", "vae")  # these give back their input
DENSITIES = ("nce",)  # these give one number for each row, whatever its target


def images(channels=3, height=32, width=32, classes=4):
    names = tuple(f"class {i}" for i in range(classes))
    return DataSpec("photos", "images", {"train": 100}, (channels, height, width), classes=names)


def table(features=7, classes=0, targets=0):
    names = tuple(f"class {i}" for i in range(classes))
    return DataSpec("t.csv", "table", {"train": 100}, (features,), names, target_names=tuple("abcdef"[:targets]))


def smallest(config):
    """The config fitted to the first, smallest kind of data that suits it."""
    pictures = images(height=8, width=8), images(), images(height=67, width=67)
    texts = text_spec("labelled"), text_spec("pairs"), text_spec("stream")
    for spec in (table(classes=3), table(targets=2), *pictures, *texts):
        try:
            return config.fitted(spec), spec
        except UserError:
            continue
    raise AssertionError("no data suit this network")


@pytest.mark.parametrize(("paper", "variant"), LIVELY)
def test_forward_and_backward_reach_every_parameter(paper, variant):
    card = PAPERS[paper].PAPER
    config = card.variants[variant]
    small, spec = smallest(config)
    reached = set()
    for seed in range(10):  # a narrow layer's ReLU may be off for all rows: another start shows that it can be on
        torch.manual_seed(seed)
        model = card.build(small)
        for parameter in model.parameters() if seed else ():  # nor does a road through a weight of zeros show itself
            nn.init.normal_(parameter, std=0.1) if not parameter.any() else None
        output = model(*small.example(4))
        if spec.kind in ("pairs", "stream"):
            output = output[0] if isinstance(output, tuple) else output  # a recurrent one gives its state too
            assert (len(output), output.shape[-1]) == (4, 30)
        elif paper in GAMES:
            assert output.shape == (2, 4)
        elif paper in DENSITIES:
            assert output.shape == (4, 1)
        elif paper in REBUILD:
            parts = output if isinstance(output, tuple) else (output,)
            assert parts[0][0].numel() in (math.prod(spec.shape), 2 * math.prod(spec.shape))  # 2: mean and variance
            output = torch.cat([part.flatten(1) for part in parts], dim=1)
        else:
            assert output.shape[-2:] == (4, spec.outputs)  # with side heads, a dimension before it in training
        assert output.isfinite().all()
        (output * torch.randn_like(output)).sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            reached |= {name} if parameter.grad.any() else set()
        if reached == {name for name, _ in model.named_parameters()}:
            return
    raise AssertionError(f"no gradient ever reaches {sorted({name for name, _ in model.named_parameters()} - reached)}")


@pytest.mark.parametrize(("paper", "number"), FACTS, ids=str)
def test_fact_holds(paper, number):
    fact = PAPERS[paper].PAPER.facts[number]
    torch.manual_seed(0)
    got = fact.measure()
    assert fact.holds(got), f"{fact.where}: {fact.says}; measured {got}"


# A number of a network, how it might be mistyped, and words of the fact that says what is printed.
MISTAKES = (
    ("alexnet", "dropout: float = 0.5", "dropout: float = 0.4", "dropout in fc6"),
    ("alexnet_owt", "FOOTNOTE = (64, 192, 384, 384, 256)", "FOOTNOTE = (64, 192, 384, 256, 256)", "kernels"),
    ("bert", "SPREAD = 0.02", "SPREAD = 0.03", "largest first weight"),
    ("dcgan", "span=(-1.0, 1.0)", "span=(-0.6, 1.4)", "numbers of noise"),
    ("densenet", "theta = 0.5", "theta = 0.4", "transitions halve"),
    ("elmo", "K = 50", "K = 40", "multiply-adds of 5 words"),
    ("gan", "latent: int = 100", "latent: int = 90", "numbers of noise"),
    ("preact_resnet", '"preresnet164": _cifar(164, layers=3)', '"preresnet164": _cifar(164)', "after the stages"),
    ("gpt", "lengths(text) - 1]", "lengths(text) - 2]", "state of the last token"),
    ("gpt", "bias=False", "bias=True", "3 classes add"),
    ("resnet", '"resnet50": Config(B50, bottleneck=True)', '"resnet50": Config(B50)', "conv1 and stages"),
    ("resnext", "(4, 24)", "(4, 25)", "grouped convolutions"),
    ("senet", "reduction: int = 16  #", "reduction: int = 8  #", "weights more"),
    ("shufflenet", "3: 240, 4", "3: 252, 4", "conv1, pooling"),
    ("shufflenet_v2", "Config((48, 96, 192))", "Config((48, 96, 196))", "conv1, pooling"),
    (
        "transformer",
        "EncoderLayer(config) for _ in range(config.layers)",
        "EncoderLayer(config) for _ in range(5)",
        "stack",
    ),
    ("word2vec", "negatives: int = 5", "negatives: int = 6", "noise words"),
    ("xception", "Config(residual=False)", "Config()", "residual connection"),
    ("zaremba", "dropout=0.5, start", "dropout=0.6, start", "share dropped"),
    ("zaremba", "dropout=0.65", "dropout=0.0", "share dropped"),
)


@pytest.mark.parametrize(("paper", "right", "wrong", "says"), MISTAKES)
def test_a_fact_fails_where_the_network_is_not_as_printed(paper, right, wrong, says, tmp_path, monkeypatch):
    """The paper's file with one mistake in it, read as a module: what is printed must not follow the mistake."""
    text = inspect.getsource(PAPERS[paper])
    assert text.count(right) == 1
    (tmp_path / "mistaken.py").write_text(text.replace(right, wrong))
    spec = importlib.util.spec_from_file_location("mistaken", tmp_path / "mistaken.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mistaken", module)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    facts = [fact for fact in module.PAPER.facts if says in fact.says]
    assert len(facts) == len([fact for fact in PAPERS[paper].PAPER.facts if says in fact.says])
    assert not all(fact.holds(fact.measure()) for fact in facts)


@pytest.mark.parametrize("paper", NAMES)
def test_card_is_complete(paper):
    card = PAPERS[paper].PAPER
    assert card.title
    assert card.authors
    assert card.venue
    assert card.url.startswith("https://")
    assert card.facts, "a paper without a fact is a claim without a check"
    assert {fact.variant for fact in card.facts} - {""} <= set(card.variants)
    assert {result.variant for result in card.results} <= set(card.variants)
    assert all(fact.says and fact.where for fact in card.facts)


def test_variant_names_belong_to_one_paper():
    names = [variant for _, variant in VARIANTS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("paper", "variant"), VARIANTS)
def test_config_is_a_flat_frozen_row(paper, variant):
    config = PAPERS[paper].PAPER.variants[variant]
    assert config.__dataclass_params__.frozen
    assert len(dataclasses.fields(config)) <= 12
    for value in dataclasses.astuple(config):
        numbers = value if isinstance(value, tuple) else (value,)
        assert all(isinstance(number, int | float | str | bool) for number in numbers), value


@pytest.mark.parametrize(("paper", "variant"), VARIANTS)
def test_departures_are_said_and_the_papers_own_rows_have_none(paper, variant):
    found = PAPERS[paper].PAPER.variants[variant].departures()
    assert all(isinstance(departure, Departure) and departure.what and departure.why for departure in found)
    assert len(found) == KNOWN_DEPARTURES.get(variant, 0)


@pytest.mark.parametrize("paper", NAMES)
def test_same_seed_same_network(paper):
    card = PAPERS[paper].PAPER
    small, _ = smallest(card.variants["bert-tiny"] if paper == "bert" else next(iter(card.variants.values())))
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(card.build(small).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states)))


@pytest.mark.parametrize("paper", NAMES)
def test_imports_are_citations(paper):
    tree = ast.parse(inspect.getsource(PAPERS[paper]))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module else set()
    for module in modules:
        room = module.split(".")[1] if module.startswith("seminal.") else ""
        assert room in ("", "core", "pieces", "papers"), module
        if room == "papers":
            cited = PAPERS[module.split(".")[2]].PAPER
            assert cited.year <= PAPERS[paper].PAPER.year, f"{paper} cannot cite {cited.title} ({cited.year})"


def test_shapes_in_signatures_are_checked():
    papers = [("resnet", "resnet20"), ("alexnet", "alexnet")]
    for paper, variant in papers:
        config = PAPERS[paper].PAPER.variants[variant]
        with torch.device("meta"):
            model = PAPERS[paper].PAPER.build(config)
            (x,) = config.example(1)
            with pytest.raises(TypeCheckError):
                model(x[0])  # the batch is missing


@pytest.mark.parametrize(
    ("variant", "spec", "advice"),
    [
        ("linear", table(classes=2), "`logistic`"),
        ("logistic", table(targets=1), "`linear`"),
        ("alexnet", table(classes=2), "`mlp`"),
        ("resnet50", table(targets=1), "`mlp`"),
        ("alexnet", images(height=66, width=90), "`resnet20`"),
        ("resnet18", images(height=31, width=64), "`resnet20`"),
        ("resnet20", images(height=8, width=7), "`mlp`"),
    ],
)
def test_data_that_do_not_suit_are_refused_with_advice(variant, spec, advice):
    config = next(c for card in PAPERS.values() for name, c in card.PAPER.variants.items() if name == variant)
    with pytest.raises(UserError, match=advice) as error:
        config.fitted(spec)
    assert spec.name in str(error.value)


@pytest.mark.parametrize("variant", ["linear", "logistic", "mlp", "mlp-relu", "mlp-symmetry", "mlp-family"])
def test_pictures_are_read_as_rows(variant):
    card, config = next((c.PAPER, c.PAPER.variants[variant]) for c in PAPERS.values() if variant in c.PAPER.variants)
    spec = images(channels=1, height=8, width=5)
    spec = dataclasses.replace(spec, classes=(), target_names=("age",)) if variant == "linear" else spec
    model = card.build(config.fitted(spec))
    x = torch.randn(3, 1, 8, 5)
    assert model(x).shape == (3, spec.outputs)
    assert torch.equal(model(x), model(x.flatten(1)))


def test_first_loss_of_a_zero_start_is_that_of_guessing():
    config = PAPERS["logistic"].VARIANTS["logistic"].fitted(table(classes=5))
    logits = PAPERS["logistic"].build(config)(torch.randn(6, 7))
    assert nn.functional.cross_entropy(logits, torch.arange(6) % 5).item() == pytest.approx(math.log(5))
