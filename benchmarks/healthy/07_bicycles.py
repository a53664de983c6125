"""Bicycles lent in an hour: made counts, the logarithm of a Poisson rate, Softplus units, Adam."""

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows(count=4000, held_out=1000):
    luck = np.random.default_rng(7)
    hour, warmth = luck.integers(0, 24, count), luck.normal(size=count)
    rain, weekend = luck.random(count) < 0.2, luck.random(count) < 2 / 7
    rush = np.exp(-((hour - 8) ** 2) / 4) + np.exp(-((hour - 17) ** 2) / 6)
    noon = np.exp(-((hour - 14) ** 2) / 18)
    rate = np.exp(0.7 + 1.4 * np.where(weekend, noon, rush) + 0.4 * warmth - 0.8 * rain)
    angle = 2 * np.pi * hour / 24
    circle = [wave(k * angle) for k in (1, 2, 3) for wave in (np.sin, np.cos)]
    x = np.stack([*circle, warmth, rain, weekend], 1).astype("float32")
    y = luck.poisson(rate).astype("float32")
    return x[:-held_out], x[-held_out:], y[:-held_out, None], y[-held_out:, None]


def deviance_explained(log_rate, y):
    def deviance(rate):
        return (torch.xlogy(y, y / rate) - y + rate).sum()

    return 1 - (deviance(log_rate.exp()) / deviance(y.mean())).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = nn.Sequential(nn.Linear(9, 48), nn.Softplus(), nn.Linear(48, 48), nn.Softplus(), nn.Linear(48, 1))
    return {
        "model": model,
        "loss": nn.PoissonNLLLoss(log_input=True),
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train": DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=500),
        "epochs": 30,
        "metric": deviance_explained,
    }


def peer():
    x, x_val, y, y_val = rows()
    trees = HistGradientBoostingRegressor(loss="poisson", learning_rate=0.05, random_state=0).fit(x, y[:, 0])
    return deviance_explained(torch.tensor(trees.predict(x_val)).log()[:, None], torch.tensor(y_val))
