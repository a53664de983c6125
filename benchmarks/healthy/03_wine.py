"""Three growers of wine from thirteen measurements: a self-normalising network (SELU, alpha dropout, LeCun's start)."""

import math

import torch
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows():
    x, y = load_wine(return_X_y=True)
    x, x_val, y, y_val = train_test_split(x, y, test_size=60, random_state=3, stratify=y)
    scaler = StandardScaler().fit(x)
    return scaler.transform(x), scaler.transform(x_val), y, y_val


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.tensor, rows())
    layers = []
    for wide_in, wide_out in ((13, 32), (32, 32), (32, 32)):
        layers += [nn.Linear(wide_in, wide_out), nn.SELU(), nn.AlphaDropout(0.05)]
    model = nn.Sequential(*layers, nn.Linear(32, 3))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)
    return {
        "model": model,
        "loss": nn.CrossEntropyLoss(label_smoothing=0.05),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train": DataLoader(TensorDataset(x.float(), y), batch_size=16, shuffle=True),
        "val": DataLoader(TensorDataset(x_val.float(), y_val), batch_size=60),
        "epochs": 120,
        "metric": lambda out, y: (out.argmax(-1) == y).float().mean().item(),
    }


def peer():
    x, x_val, y, y_val = rows()
    return LogisticRegression().fit(x, y).score(x_val, y_val)
