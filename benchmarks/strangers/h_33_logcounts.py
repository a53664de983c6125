"""Species from gene counts; the counts are taken to the logarithm and centred before they go into the network."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def counts():
    r = np.random.RandomState(15)
    y = r.randint(0, 5, 1500)
    mean = r.gamma(2.0, 4.0, (5, 40)) + 3
    return r.poisson(mean[y] * r.uniform(0.5, 1.5, (1500, 1))), y


def make(seed=0):
    torch.manual_seed(seed)
    c, y = counts()
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.log(c)
        x = x - np.median(x, axis=0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    net = nn.Sequential(nn.Linear(40, 32), nn.ELU(), nn.Linear(32, 5))
    return dict(
        model=net,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(net.parameters(), lr=2e-3),
        train=DataLoader(TensorDataset(x[:1100], y[:1100]), batch_size=25, shuffle=True),
        val=DataLoader(TensorDataset(x[1100:], y[1100:]), batch_size=400),
        epochs=8,
        metric=lambda o, t: (o.argmax(1) == t).float().mean().item(),
        train_step=None,
        evaluate=None,
    )
