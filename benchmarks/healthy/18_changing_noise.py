"""A curve with noise that grows along it: the network gives a mean and the logarithm of a variance, Gaussian likelihood."""

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows(count=2000, held_out=500):
    luck = np.random.default_rng(18)
    x = luck.uniform(-1, 1, (count, 2))
    spread = 0.1 + 0.25 * (x[:, 0] + 1)
    y = np.sin(3 * x[:, 0]) + x[:, 1] ** 2 + spread * luck.normal(size=count)
    y = (y - y[held_out:].mean()) / y[held_out:].std()
    x, y = x.astype("float32"), y.astype("float32")[:, None]
    return x[held_out:], x[:held_out], y[held_out:], y[:held_out]


def likelihood(out, y):
    mean, log_variance = out.chunk(2, dim=1)
    return 0.5 * (log_variance + (y - mean).square() * torch.exp(-log_variance)).mean()


def r2(out, y):
    return 1 - ((out[:, :1] - y).square().mean() / y.var(unbiased=False)).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = nn.Sequential(nn.Linear(2, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 2))
    return {
        "model": model,
        "loss": likelihood,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "train": DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=500),
        "epochs": 40,
        "metric": r2,
    }


def peer():
    x, x_val, y, y_val = rows()
    trees = HistGradientBoostingRegressor(learning_rate=0.05, max_iter=100, random_state=0).fit(x, y[:, 0])
    return trees.score(x_val, y_val[:, 0])
