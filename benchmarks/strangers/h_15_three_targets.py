"""Strength, weight and price of a mixture from its eight ingredients, regressed together."""

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def mixture(n):
    r = np.random.RandomState(8)
    X = r.randn(n, 8)
    a = X[:, 0] * 1.5 + np.sin(X[:, 1] * 2)
    b = -X[:, 0] + 0.8 * X[:, 2] ** 2
    c = X[:, 3] * X[:, 4] + X[:, 5]
    Y = np.stack([a, b, c], 1) + 0.1 * r.randn(n, 3)
    Y = (Y - Y[:1500].mean(0)) / Y[:1500].std(0)
    return torch.tensor(X).float(), torch.tensor(Y).float()


class Regressor(nn.Module):
    def __init__(self, n_in=8, n_hidden=64, n_out=1):
        super().__init__()
        self.fc_in = nn.Linear(n_in, n_hidden)
        self.fc_mid = nn.Linear(n_hidden, n_hidden)
        self.fc_out = nn.Linear(n_hidden, n_out)
        self.act = nn.SiLU()

    def forward(self, x):
        return self.fc_out(self.act(self.fc_mid(self.act(self.fc_in(x)))))


def mean_r2(pred, y):
    rss = ((pred - y) ** 2).sum(0)
    tss = ((y - y.mean(0)) ** 2).sum(0)
    return (1 - rss / tss).mean().item()


def make(seed=0):
    torch.manual_seed(seed)
    X, Y = mixture(2000)
    net = Regressor()
    return dict(
        model=net,
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(net.parameters(), lr=3e-3),
        train=DataLoader(TensorDataset(X[:1500], Y[:1500]), batch_size=50, shuffle=True),
        val=DataLoader(TensorDataset(X[1500:], Y[1500:]), batch_size=500),
        epochs=20,
        metric=mean_r2,
        train_step=None,
        evaluate=None,
    )
