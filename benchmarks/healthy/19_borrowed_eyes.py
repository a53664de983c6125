"""The digits 5 to 9, seen through convolutions that learned 0 to 4 and are meant to stay: only the head learns."""

from functools import cache

import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows():
    x, y = load_digits(return_X_y=True)
    later = y >= 5
    return train_test_split(x[later].astype("float32") / 16, y[later] - 5, test_size=250, random_state=19)


@cache
def learned_eyes():
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x[y < 5] / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y[y < 5])
    torch.manual_seed(0)
    eyes = nn.Sequential(nn.Conv2d(1, 24, 3), nn.ReLU(), nn.Conv2d(24, 24, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    whole = nn.Sequential(eyes, nn.Linear(96, 5))
    optimizer = torch.optim.Adam(whole.parameters(), lr=3e-3)
    for batch in torch.cat([torch.randperm(len(x)) for _ in range(5)]).split(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(whole(x[batch]), y[batch]).backward()
        optimizer.step()
    return {name: value.clone() for name, value in eyes.state_dict().items()}


def make(seed=0):
    weights = learned_eyes()
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    eyes = nn.Sequential(nn.Conv2d(1, 24, 3), nn.ReLU(), nn.Conv2d(24, 24, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    eyes.load_state_dict(weights)
    head = nn.Sequential(nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, 5))
    return {
        "model": nn.Sequential(eyes.requires_grad_(False), head),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(head.parameters(), lr=2e-3),
        "train": DataLoader(TensorDataset(x.view(-1, 1, 8, 8), y), batch_size=20, shuffle=True),
        "val": DataLoader(TensorDataset(x_val.view(-1, 1, 8, 8), y_val), batch_size=250),
        "epochs": 20,
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


def peer():
    x, x_val, y, y_val = rows()
    return LogisticRegression(max_iter=1000).fit(x, y).score(x_val, y_val)
