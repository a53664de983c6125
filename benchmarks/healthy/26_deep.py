"""Friedman's function of five columns among ten: ten residual blocks with layer normalisation, AdamW, a cosine rate."""

import math

import torch
from sklearn.datasets import make_friedman1
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 12


def rows(held_out=500):
    x, y = make_friedman1(2500, noise=1.0, random_state=26)
    y = (y - y[held_out:].mean()) / y[held_out:].std()
    x, y = (x.astype("float32") - 0.5) * 3.46, y.astype("float32")[:, None]  # mean 0, spread 1
    return x[held_out:], x[:held_out], y[held_out:], y[:held_out]


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x):
        return x + self.inner(x)


def r2(out, y):
    return 1 - ((out - y).square().mean() / y.var(unbiased=False)).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = nn.Sequential(nn.Linear(10, 32), *(Block(32) for _ in range(10)), nn.LayerNorm(32), nn.Linear(32, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    train = DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)
    steps = EPOCHS * len(train)
    cosine = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: (1 + math.cos(math.pi * min(t, steps) / steps)) / 2)

    optimizer.register_step_post_hook(lambda *_: cosine.step())
    return {
        "model": model,
        "loss": nn.MSELoss(),
        "optimizer": optimizer,
        "train": train,
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=500),
        "epochs": EPOCHS,
        "metric": r2,
    }


def peer():
    x, x_val, y, y_val = rows()
    return HistGradientBoostingRegressor(random_state=0).fit(x, y[:, 0]).score(x_val, y_val[:, 0])
