"""`seminal cost`: the bytes by hand, by autograd's own account, and by what is alive while a real network trains."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from seminal.core import DataSpec, Optim, UserError
from seminal.papers import alexnet, mlp, resnet
from seminal.pieces import memory
from seminal.pieces.measure import count, work
from seminal.recipes import resnet as resnet_recipes
from seminal.runs.cost import OPTIMISERS, cost
from seminal.runs.shelf import papers
from seminal.train.optimisers import optimisers

pytestmark = pytest.mark.usefixtures("one_thread")

SGD = Optim("sgd")
FP32, BF16 = torch.float32, torch.bfloat16
FLOAT, HALF, INDEX = 4, 2, 8  # bytes
SHELF = papers()


def asked(capsys, name, **flags):
    """What `seminal cost NAME --json` says."""
    assert cost(name, as_json=True, **flags) == 0
    return json.loads(capsys.readouterr().out)


# ------------------------------------------------------------------------------------------------------------- by hand


def perceptron():
    """5 inputs, 7 hidden units, 3 outputs."""
    return mlp.Config(inputs=(5,), hidden=(7,), outputs=3)


def test_perceptron_by_hand():
    with memory.imagined(mlp.build, perceptron(), batch=11) as (model, inputs):
        step = memory.training(model, inputs, SGD, FP32)
        answer = memory.inference(model, inputs, FP32)
    parameters = 5 * 7 + 7 + 7 * 3 + 3
    assert step.weights == step.gradients == FLOAT * parameters
    assert (step.state, step.copies) == (0, 0)
    assert step.inputs == FLOAT * 11 * 5
    # The sigmoid's derivative is found from its output, so its input is not kept; the output layer needs that too.
    assert step.activations == FLOAT * 11 * (7 + 3)
    assert step.total == FLOAT * (2 * parameters + 11 * (5 + 7 + 3)) + step.passing
    assert answer.activations == FLOAT * 11 * (7 + 7), "input and output of the sigmoid"
    assert answer.total == FLOAT * (parameters + 11 * (5 + 14))


def test_perceptron_by_hand_in_bf16():
    with memory.imagined(mlp.build, perceptron(), batch=11) as (model, inputs):
        step = memory.training(model, inputs, SGD, BF16)
    assert step.weights == step.gradients == FLOAT * (5 * 7 + 7 + 7 * 3 + 3)
    # The first layer's weights give the gradient of the input, which nobody needs; biases give no gradient at all.
    assert step.copies == HALF * 7 * 3
    assert step.activations == HALF * 11 * (5 + 7 + 3), "the input too has a copy in bf16"


class Convolutions(nn.Module):
    """2 channels of 6 × 8 pixels to 4 classes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(5)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(5 * 3 * 4, 4)

    def forward(self, x):
        return self.fc(self.pool(self.relu(self.bn(self.conv(x)))).flatten(1))


def test_convolutions_by_hand():
    model, x = Convolutions(), torch.randn(3, 2, 6, 8)
    rows = {part.name: part for part in memory.parts(model.train(), (x,))}
    full, pooled = 3 * 5 * 6 * 8, 3 * 5 * 3 * 4
    assert rows["conv"].kept == FLOAT * full, "batch normalisation needs what it normalised"
    assert rows["bn"].kept == FLOAT * (5 + 5), "mean and deviation per channel; the ReLU needs its own output only"
    assert rows["relu"].kept == FLOAT * full
    assert rows["pool"].kept == (FLOAT + INDEX) * pooled, "for the linear layer, and where each maximum was"
    assert rows["fc"].kept == FLOAT * 3 * 4
    assert [part.multiply_adds for part in rows.values()] == [5 * 6 * 8 * 2 * 9, 0, 0, 0, 60 * 4]
    assert [part.parameters for part in rows.values()] == [5 * 2 * 9, 10, 0, 0, 60 * 4 + 4]
    assert rows["pool"].shape == (5, 3, 4)
    step = memory.training(model, (x,), replace(SGD, momentum=0.9), FP32)
    assert step.activations == sum(part.kept for part in rows.values())
    assert step.weights == FLOAT * (90 + 10 + 244) + FLOAT * 10 + INDEX, "running mean and variance, and a counter"
    assert step.state == step.gradients == FLOAT * (90 + 10 + 244)


def test_a_shared_part_is_a_row_each_time_and_what_is_in_no_part_is_told_last():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
            self.gain = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return self.layers[0](self.layers[1](self.layers[0](x))) * self.gain

    rows = memory.parts(Shared(), (torch.randn(2, 4),))
    assert [part.name for part in rows] == ["layers.0", "layers.1", "layers.0", "elsewhere"]
    assert [part.parameters for part in rows] == [20, 20, 0, 4]
    assert [part.multiply_adds for part in rows] == [16, 16, 16, 0]
    assert [part.kept for part in rows] == [32, 32, 32, 32]


# ------------------------------------------------------------------------------------- autograd's account, and reality


def packed(model, inputs):
    """Bytes of the storages that autograd saves in a forward pass, parameters left out, input and output counted once."""
    storages = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = model(*inputs)
    for tensor in (output, *inputs):
        note(tensor)
    known = {p.untyped_storage()._cdata for p in [*model.parameters(), *model.buffers()]}
    return sum(storage.nbytes() for number, storage in storages.items() if number not in known)


@pytest.mark.parametrize(
    ("build", "config"),
    [
        (resnet.build, resnet.VARIANTS["resnet20"]),
        (resnet.build, resnet.VARIANTS["resnet50"]),
        (alexnet.build, alexnet.VARIANTS["alexnet"]),
    ],
    ids=["resnet20", "resnet50", "alexnet"],
)
def test_what_is_alive_is_what_autograd_saved(build, config):
    with memory.imagined(build, config, batch=4) as (model, inputs):
        step = memory.training(model, inputs, SGD, FP32)
        assert step.activations + step.inputs == packed(model.train(), inputs)


def account(model, inputs):
    step, answer = memory.training(model, inputs, SGD, FP32), memory.inference(model, inputs, FP32)
    return step, answer, memory.parts(model.train(), inputs)


def test_the_imagined_network_is_the_real_one_to_the_byte():
    config = resnet.VARIANTS["resnet20"]
    model, inputs = resnet.build(config), config.example(3)
    with memory.imagined(resnet.build, config, batch=3) as (twin, likeness):
        said = account(twin, likeness)
        ours = memory.training(twin, likeness, SGD, BF16)
    assert account(model, inputs) == said
    real = memory.training(model, inputs, SGD, BF16)
    assert replace(ours, activations=0) == replace(real, activations=0)
    assert ours.activations == pytest.approx(real.activations, rel=2e-3)  # torch imagines statistics in bf16 too


@pytest.mark.parametrize(
    ("paper", "variant", "name"),
    [
        ("resnet", "resnet20", "sgd"),
        ("resnet", "resnet20", "sgd-momentum"),
        ("resnet", "resnet20", "adam"),
        ("densenet_memory", "densenet40-k12-shared", "sgd"),
        ("alexnet", "alexnet", "sgd-momentum"),
    ],
)
def test_peak_of_a_real_training_step(paper, variant, name):
    """The most bytes alive in a step, whatever they are, against the sum of the rows."""
    card, batch = SHELF[paper], 16 if paper == "resnet" else 2
    build, config = card.build, card.variants[variant]
    with memory.imagined(build, config, batch) as (model, inputs):
        expected = memory.training(model, inputs, OPTIMISERS[name], FP32)
    model, (x,) = build(config).train(), config.example(batch)
    (optimiser,) = optimisers({"model": list(model.parameters())}, OPTIMISERS[name]).values()
    for group in optimiser.param_groups:
        group["lr"] = 1e-3

    def step():
        optimiser.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(x), torch.arange(batch) % 10).backward()
        optimiser.step()

    step()  # the state appears
    kept = [value for state in optimiser.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    tracker = memory.Tracker([*model.parameters(), *model.buffers(), x, *kept], [], peak=True)
    optimiser.zero_grad(set_to_none=True)
    with tracker:
        step()
    assert sum(value.nbytes for value in kept) == expected.state
    measured = tracker.peak + expected.weights + expected.inputs + expected.state
    assert measured == pytest.approx(expected.total, rel=0.05)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_state_is_that_of_torchs_optimiser(name):
    model = Convolutions()
    (optimiser,) = optimisers({"model": list(model.parameters())}, OPTIMISERS[name]).values()
    for group in optimiser.param_groups:
        group["lr"] = 1e-3
    model(torch.randn(2, 2, 6, 8)).sum().backward()
    optimiser.step()
    values = [value for state in optimiser.state.values() for value in state.values()]
    found = sum(value.nbytes for value in values if isinstance(value, torch.Tensor))
    assert memory.state(list(model.parameters()), OPTIMISERS[name]) == found


# -------------------------------------------------------------------------------------------------------- the command


# Their first variant is the paper's full size: to walk through it takes seconds.
LARGE = (
    *("densenet", "densenet_memory", "bn_inception", "googlenet", "preact_resnet", "resnext"),
    *("luong", "bahdanau", "seq2seq", "elmo", "bert", "transformer", "gpt", "gpt2", "zaremba"),
)


@pytest.mark.parametrize("file", [pytest.param(file, marks=[pytest.mark.slow] * (file in LARGE)) for file in SHELF])
def test_every_paper_has_a_cost_and_its_parts_add_up(file, capsys):
    paper = SHELF[file]
    name, config = next(iter(paper.variants.items()))
    found = asked(capsys, name, batch=2)
    assert found["parameters"] == count(paper.build, config) == sum(part["parameters"] for part in found["parts"])
    assert found["multiply_adds"] == work(paper.build, config)
    assert found["multiply_adds_in_training"] == sum(part["multiply_adds"] for part in found["parts"])
    assert found["multiply_adds_in_training"] >= found["multiply_adds"]
    step = found["training"]["fp32"]
    assert step["activations"] == sum(part["kept"] for part in found["parts"]) > 0
    assert step["total"] == sum(amount for row, amount in step.items() if row != "total")
    assert found["inference"]["bf16"]["total"] < found["training"]["bf16"]["total"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for paper in SHELF.values() for name in paper.variants])
def test_every_model_has_a_cost(name, capsys):
    found = asked(capsys, name)
    for words in ("fp32", "bf16"):
        assert found["training"][words]["total"] > found["inference"][words]["total"]


def test_activations_grow_with_the_batch_and_nothing_else_does(capsys):
    small, large = (asked(capsys, "resnet20", batch=batch)["training"]["fp32"] for batch in (8, 16))
    assert [small[row] for row in ("weights", "gradients", "state")] == [
        large[row] for row in ("weights", "gradients", "state")
    ]
    statistics = (
        FLOAT * 2 * sum(m.num_features for m in resnet.build(resnet.VARIANTS["resnet20"]).modules() if is_bn(m))
    )
    assert large["activations"] - statistics == 2 * (small["activations"] - statistics)


def is_bn(module):
    return isinstance(module, nn.BatchNorm2d)


def test_other_data(capsys):
    found = asked(capsys, "resnet18", size=64, channels=1, classes=7, batch=2)
    config = replace(resnet.VARIANTS["resnet18"], in_channels=1, size=(64, 64), outputs=7)
    assert (found["input"], found["outputs"]) == ([1, 64, 64], 7)
    assert (found["parameters"], found["multiply_adds"]) == (count(resnet.build, config), work(resnet.build, config))
    assert asked(capsys, "mlp", channels=9)["input"] == [9]
    assert asked(capsys, "mlp", size=8, channels=3, classes=2)["input"] == [3 * 8 * 8]
    assert asked(capsys, "linear", channels=12)["parameters"] == 13


def test_batch_and_optimiser_are_those_of_the_default_recipe(capsys):
    spec = DataSpec("p", "images", {"train": 50_000, "val": 10_000}, (3, 32, 32), tuple("abcdefghij"))
    found = asked(capsys, "resnet20")
    assert (found["batch"], found["optimiser"]) == (resnet_recipes.modern("resnet20", spec).batch, "sgd with momentum")
    assert asked(capsys, "mlp")["optimiser"] == "adamw"


def test_tables_fit_a_terminal_of_80_columns(capsys):
    for name in ("resnet50", "alexnet", "mlp"):
        cost(name, batch=32)
        text = capsys.readouterr().out
        assert "32 rows" in text or "32 pictures" in text
        tables = [line for line in text.splitlines() if not line.startswith(("kept ", "bf16 ", "without "))]
        assert max(len(line) for line in tables) <= 80
        assert sum(line.startswith("in all") for line in tables) == 2


@pytest.mark.parametrize(
    ("name", "flags", "advice"),
    [
        ("resnet19", {}, "Nearest: resnet"),
        ("resnet18", {"size": 16}, "`resnet20`"),
        ("resnet20", {"batch": 0}, "--batch-size 0 .* write 1 or more"),
        ("resnet20", {"optimiser": "adm"}, "Nearest: adam"),
        ("linear", {"classes": 3}, "`logistic`"),
        ("resnet18", {"size": 32, "batch": 1}, "--batch 2"),
    ],
)
def test_mistakes(name, flags, advice):
    with pytest.raises(UserError, match=advice):
        cost(name, **flags)
