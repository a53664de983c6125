"""How diabetes goes on, from ten measurements: a straight line with weight decay. About half of the variance is chance."""

import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows():
    x, y = load_diabetes(return_X_y=True)
    x, x_val, y, y_val = train_test_split(x, y[:, None], test_size=120, random_state=2)
    columns, values = StandardScaler().fit(x), StandardScaler().fit(y)
    return columns.transform(x), columns.transform(x_val), values.transform(y), values.transform(y_val)


def r2(out, y):
    return 1 - ((out - y).square().sum() / (y - y.mean()).square().sum()).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = (torch.tensor(part, dtype=torch.float32) for part in rows())
    model = nn.Linear(10, 1)
    return {
        "model": model,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=0.01),
        "train": DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=64),
        "epochs": 80,
        "metric": r2,
    }


def peer():
    x, x_val, y, y_val = rows()
    return Ridge(1.0).fit(x, y).score(x_val, y_val)
