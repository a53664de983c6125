"""The next value of a made time series (two waves that drift, and noise): a GRU over forty values, Adam, squared error."""

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 40


def rows(length=2600, held_out=500):
    luck = np.random.default_rng(10)
    time = np.arange(length)
    drift = np.cumsum(luck.normal(0, 0.02, length))
    series = np.sin(2 * np.pi * time / 24 + drift) + 0.5 * np.sin(2 * np.pi * time / 7) + 0.2 * luck.normal(size=length)
    series = ((series - series.mean()) / series.std()).astype("float32")
    windows = np.lib.stride_tricks.sliding_window_view(series, WINDOW + 1)
    past, after = windows[: -held_out - WINDOW], windows[-held_out:]  # no value is on both sides
    return past[:, :-1].copy(), after[:, :-1].copy(), past[:, -1:].copy(), after[:, -1:].copy()


class Forecast(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.recur = nn.GRU(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, series):
        states, _ = self.recur(series.unsqueeze(-1))
        return self.out(states[:, -1])


def r2(out, y):
    return 1 - ((out - y).square().mean() / y.var(unbiased=False)).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = Forecast()
    return {
        "model": model,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
        "train": DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=250),
        "epochs": 15,
        "metric": r2,
    }


def peer():
    x, x_val, y, y_val = rows()
    return Ridge(1.0).fit(x, y).score(x_val, y_val)
