"""Price of a flat from size, floor, age and position; careful training step against outliers."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def flats(n=1600):
    rng = np.random.RandomState(3)
    X = rng.randn(n, 6).astype("float32")
    price = 900 + 260 * X[:, 0] + 120 * np.maximum(X[:, 1], 0) * X[:, 0] - 90 * X[:, 2] + 60 * np.abs(X[:, 3])
    return torch.tensor(X), torch.tensor(price + 20 * rng.randn(n), dtype=torch.float32).unsqueeze(1)


def careful_step(model, criterion, optimizer, xb, yb):
    optimizer.zero_grad(set_to_none=True)
    l = criterion(model(xb), yb)
    l.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.005)
    optimizer.step()
    return l


def make(seed=0):
    torch.manual_seed(seed)
    X, y = flats()
    Xt, yt, Xv, yv = X[:1200], y[:1200], X[1200:], y[1200:]
    model = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    r2 = lambda p, t: (1 - (p - t).pow(2).sum() / (t - t.mean()).pow(2).sum()).item()
    return dict(
        model=model,
        loss=nn.MSELoss(),
        optimizer=optimizer,
        train=DataLoader(TensorDataset(Xt, yt), batch_size=30, shuffle=True),
        val=DataLoader(TensorDataset(Xv, yv), batch_size=400),
        epochs=15,
        metric=r2,
        train_step=careful_step,
        evaluate=None,
    )
