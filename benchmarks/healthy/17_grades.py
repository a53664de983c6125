"""Five grades in order: one score and four steps that it may pass (cumulative logits), learned as yes or no for each step."""

import numpy as np
import torch
from sklearn.linear_model import LinearRegression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows(count=2500, held_out=500):
    luck = np.random.default_rng(17)
    x = luck.normal(size=(count, 8)).astype("float32")
    hidden = x[:, :4] @ [1.0, -0.7, 0.5, 0.4] + 0.6 * np.tanh(2 * x[:, 4]) + 0.6 * luck.normal(size=count)
    grade = np.digitize(hidden, np.quantile(hidden, [0.1, 0.35, 0.7, 0.9]))
    passed = (grade[:, None] > np.arange(4)).astype("float32")
    return x[held_out:], x[:held_out], passed[held_out:], passed[:held_out]


class Ordinal(nn.Module):
    def __init__(self, inputs, steps, hidden=32):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 1, bias=False))
        self.steps = nn.Parameter(torch.linspace(1.5, -1.5, steps))

    def forward(self, x):
        return self.score(x) + self.steps


def kappa(out, passed):
    """Weighted quadratically: 1 for the right grades, 0 for chance."""
    said, meant = (out > 0).sum(1).double(), passed.sum(1).double()
    chance = (said[:, None] - meant[None]).square().mean()
    return 1 - ((said - meant).square().mean() / chance).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = Ordinal(8, 4)
    return {
        "model": model,
        "loss": nn.BCEWithLogitsLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "train": DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=100),
        "epochs": 20,
        "metric": kappa,
    }


def peer():
    x, x_val, y, y_val = rows()
    grade = LinearRegression().fit(x, y.sum(1)).predict(x_val)
    return kappa(torch.tensor(grade[:, None] - np.arange(4) - 0.5), torch.tensor(y_val))
