"""Values with heavy-tailed noise (Student's t with two degrees of freedom), where the median is asked for: L1 loss."""

import numpy as np
import torch
from sklearn.linear_model import HuberRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows(count=3000, held_out=800):
    luck = np.random.default_rng(25)
    x = luck.normal(size=(count, 6))
    y = x[:, 0] - 0.5 * x[:, 1] + x[:, 2] * x[:, 3] + 0.4 * luck.standard_t(2, count)
    x, y = x.astype("float32"), y.astype("float32")[:, None]
    return x[held_out:], x[:held_out], y[held_out:], y[:held_out]


def gained(out, y):
    """Of the absolute error of the median."""
    return 1 - ((out - y).abs().sum() / (y - y.median()).abs().sum()).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 32), nn.SiLU(), nn.Linear(32, 1))
    return {
        "model": model,
        "loss": nn.L1Loss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4),
        "train": DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=800),
        "epochs": 30,
        "metric": gained,
    }


def peer():
    x, x_val, y, y_val = rows()
    curve = make_pipeline(PolynomialFeatures(2, include_bias=False), HuberRegressor(max_iter=1000)).fit(x, y[:, 0])
    return gained(torch.tensor(curve.predict(x_val))[:, None], torch.tensor(y_val))
