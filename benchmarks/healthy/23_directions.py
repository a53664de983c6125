"""Vectors of one language to those of another (made: a turn, a bend, noise): one minus the cosine; only directions count."""

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows(count=2500, held_out=500, size=24):
    luck = np.random.default_rng(23)
    x = luck.normal(size=(count, size)).astype("float32")
    turn, _ = np.linalg.qr(luck.normal(size=(size, size)))
    y = np.tanh(x @ turn) + 0.3 * np.maximum(x, 0) + 0.3 * luck.normal(size=x.shape)
    return x[held_out:], x[:held_out], y[held_out:].astype("float32"), y[:held_out].astype("float32")


class Bridge(nn.Module):
    """A straight road, and a bend beside it."""

    def __init__(self, size=24):
        super().__init__()
        self.road = nn.Linear(size, size, bias=False)
        self.bend = nn.Sequential(nn.Linear(size, 96), nn.GELU(), nn.Linear(96, size))

    def forward(self, x):
        return self.road(x) + self.bend(x)


def apart(out, y):
    return nn.functional.cosine_embedding_loss(out, y, torch.ones(len(y)))


def cosine(out, y):
    return nn.functional.cosine_similarity(out, y).mean().item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = Bridge()
    return {
        "model": model,
        "loss": apart,
        "optimizer": torch.optim.NAdam(model.parameters(), lr=1e-3),
        "train": DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=250),
        "epochs": 25,
        "metric": cosine,
    }


def peer():
    x, x_val, y, y_val = rows()
    return cosine(torch.tensor(Ridge(1.0).fit(x, y).predict(x_val)), torch.tensor(y_val))
