"""Linear and logistic regression and the multilayer perceptron against scikit-learn and closed forms."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale

from seminal.core import UserError
from seminal.papers import linear, logistic, mlp
from seminal.pieces.init import fill, he, normal, uniform


def tensor(array):
    return torch.as_tensor(array, dtype=torch.float64)


def test_normal_equations_agree_with_scikit_learn():
    x, y = load_diabetes(return_X_y=True)
    ones = torch.cat([tensor(x), torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    ours = linear.normal_equations(ones, tensor(y)[:, None])
    theirs = LinearRegression().fit(x, y)
    torch.testing.assert_close(ours[:-1, 0], tensor(theirs.coef_))
    assert float(ours[-1]) == pytest.approx(theirs.intercept_)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3))
def test_errors_of_least_squares_are_orthogonal_to_the_inputs(seed, features, targets):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(9, features, generator=generator, dtype=torch.float64)
    y = torch.randn(9, targets, generator=generator, dtype=torch.float64)
    errors = y - x @ linear.normal_equations(x, y)
    assert (x.T @ errors).abs().max() < 1e-9


def test_dependent_columns_are_refused():
    x = torch.tensor([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    with pytest.raises(UserError, match="no single solution"):
        linear.normal_equations(x, torch.ones(3, 1))


def test_linear_without_bias_passes_through_the_origin():
    model = linear.build(linear.Config(features=4, outputs=2, bias=False))
    assert [name for name, _ in model.named_parameters()] == ["linear.weight"]
    assert torch.equal(model(torch.zeros(1, 4)), torch.zeros(1, 2))


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_logistic_gives_the_probabilities_of_scikit_learn(load):
    x, y = load(return_X_y=True)
    x = scale(x)
    theirs = LogisticRegression(C=1.0, tol=1e-9, max_iter=5_000).fit(x, y)
    config = logistic.Config(features=x.shape[1], outputs=len(set(y)))
    model = logistic.build(config).double()
    weights = {"linear.weight": tensor(theirs.coef_), "linear.bias": tensor(theirs.intercept_)}
    model.load_state_dict(weights)
    torch.testing.assert_close(model(tensor(x)).softmax(1), tensor(theirs.predict_proba(x)))
    # And their optimum is ours: the gradient of log-loss + ½‖w‖² vanishes there.
    loss = torch.nn.functional.cross_entropy(model(tensor(x)), torch.as_tensor(y), reduction="sum")
    (loss + model.get_parameter("linear.weight").square().sum() / 2).backward()
    assert all(p.grad.abs().max() < 1e-3 for p in model.parameters())


def sklearn_weights(theirs):
    """scikit-learn stores (inputs, units); torch (units, inputs)."""
    depth = len(theirs.coefs_)
    names = [f"hidden.{2 * i}" for i in range(depth - 1)] + ["output"]
    weights = {f"{name}.weight": tensor(w.T) for name, w in zip(names, theirs.coefs_)}
    return weights | {f"{name}.bias": tensor(b) for name, b in zip(names, theirs.intercepts_)}


@pytest.mark.parametrize(("activation", "theirs"), [("sigmoid", "logistic"), ("tanh", "tanh"), ("relu", "relu")])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_mlp_gives_the_outputs_of_scikit_learn(activation, theirs):
    x, y = load_iris(return_X_y=True)
    classifier = MLPClassifier(hidden_layer_sizes=(6, 5), activation=theirs, max_iter=20, random_state=0).fit(x, y)
    model = mlp.build(mlp.Config((4,), (6, 5), 3, activation)).double()
    model.load_state_dict(sklearn_weights(classifier))
    torch.testing.assert_close(model(tensor(x)).softmax(1), tensor(classifier.predict_proba(x)))
    regressor = MLPRegressor(hidden_layer_sizes=(6, 5), activation=theirs, max_iter=20, random_state=0).fit(x, x[:, :2])
    model = mlp.build(mlp.Config((4,), (6, 5), 2, activation)).double()
    model.load_state_dict(sklearn_weights(regressor))
    torch.testing.assert_close(model(tensor(x)), tensor(regressor.predict(x)))


def test_groups_are_a_dense_layer_with_the_other_weights_at_zero():
    groups = mlp.Groups((24, 12), 12)
    person, relation = groups.parts
    dense = torch.nn.Linear(36, 12)
    with torch.no_grad():
        dense.weight.copy_(torch.block_diag(person.weight, relation.weight))
        dense.bias.copy_(torch.cat([person.bias, relation.bias]))
    x = torch.randn(5, 36)
    torch.testing.assert_close(groups(x), dense(x))


def test_a_step_of_momentum_is_equation_9():
    """Δw(t) = −ε ∂E/∂w(t) + α Δw(t−1), with torch's SGD on the gradients of Eqs. 4–7."""
    model = mlp.build(mlp.Config((3,), (4,), 2)).double()
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    parameters = [p for layer in layers for p in (layer.weight, layer.bias)]
    x, d = torch.rand(5, 3, dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64)
    ours, moved = [p.detach().clone() for p in parameters], [torch.zeros_like(p) for p in parameters]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    for _ in range(4):
        with torch.no_grad():
            gradients = mlp.back_propagated(layers, x, d)
        moved = [-0.1 * g + 0.9 * before for g, before in zip(gradients, moved)]
        ours = [w + step for w, step in zip(ours, moved)]
        optimizer.zero_grad()
        ((torch.sigmoid(model(x)) - d).square().sum() / 2).backward()
        optimizer.step()
    for a, b in zip(ours, parameters):
        torch.testing.assert_close(a, b.detach())


@pytest.mark.parametrize("change", [{"activation": "swish"}, {"hidden": ()}, {"inputs": (2, 2), "hidden": (5,)}])
def test_impossible_mlps_are_refused(change):
    with pytest.raises(UserError):
        replace(mlp.VARIANTS["mlp"], **change)


def test_initialisers_have_the_spread_they_say():
    layer = torch.nn.Conv2d(64, 128, 3, groups=2)
    fan_in = 32 * 9
    for rule, std in ((normal(0.01), 0.01), (uniform(0.3), 0.3 / 3**0.5), (he, (2 / fan_in) ** 0.5)):
        fill(layer, weights=rule, biases=uniform(0.1))
        # 36,864 numbers: the sampling error of the deviation is 0.4 %.
        assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
        assert abs(layer.weight.mean().item()) < 0.02 * std * 3
        assert layer.bias.abs().max() <= 0.1
