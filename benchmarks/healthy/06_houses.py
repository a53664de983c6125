"""Prices of made houses: the logarithm of a skewed price, some mistyped, so Huber's loss; AdamW, two layers of ReLU."""

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows(count=3000, held_out=750):
    luck = np.random.default_rng(6)
    area, rooms = luck.gamma(6, 18, count), luck.integers(1, 8, count)
    age, north, east = luck.exponential(30, count), luck.uniform(-1, 1, count), luck.uniform(-1, 1, count)
    centre = np.exp(-3 * (north**2 + east**2))
    price = 7.5 + 0.8 * np.log(area) + 0.05 * rooms - 0.004 * age + 0.9 * centre + 0.15 * luck.normal(size=count)
    wrong = luck.random(count) < 0.01  # a zero too many
    x = np.stack([np.log(area), rooms, np.sqrt(age), north, east], 1)
    y = price + np.where(wrong, np.log(10), 0)
    cut = count - held_out
    x = (x - x[:cut].mean(0)) / x[:cut].std(0)
    y = (y - np.median(y[:cut])) / price[:cut].std()
    return x[:cut], x[cut:], y[:cut, None], y[cut:, None]


def explained(out, y):
    """Of the mean absolute error around the median."""
    return 1 - ((out - y).abs().mean() / (y - y.median()).abs().mean()).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = (torch.tensor(part, dtype=torch.float32) for part in rows())
    model = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    return {
        "model": model,
        "loss": nn.HuberLoss(delta=0.5),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01),
        "train": DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=750),
        "epochs": 30,
        "metric": explained,
    }


def peer():
    x, x_val, y, y_val = rows()
    out = HistGradientBoostingRegressor(loss="absolute_error", random_state=0).fit(x, y[:, 0]).predict(x_val)
    return explained(torch.tensor(out)[:, None], torch.tensor(y_val))
