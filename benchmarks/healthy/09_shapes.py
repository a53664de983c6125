"""Crosses, rings and bars somewhere in noisy colour pictures: convolutions with group normalisation, Nesterov's SGD."""

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows(count=1600, held_out=400, side=16):
    luck = np.random.default_rng(9)
    kind = luck.integers(0, 3, count)
    down, right = np.mgrid[:side, :side]
    x = luck.normal(0, 0.3, (count, 3, side, side))
    for picture, shape in zip(x, kind):
        a, b = down - luck.integers(5, 11), right - luck.integers(5, 11)
        cross = ((abs(a) < 1) | (abs(b) < 1)) & (abs(a) < 5) & (abs(b) < 5)
        ring, bar = abs(np.hypot(a, b) - 3.5) < 0.7, (abs(a) < 2) & (abs(b) < 5)
        picture += (cross, ring, bar)[shape] * luck.uniform(0.5, 1.5, (3, 1, 1))
    return tuple(np.split(x.astype("float32"), [count - held_out]) + np.split(kind, [count - held_out]))


class Shapes(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16)
        self.second, self.second_norm = nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32)
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.first_norm(self.first(x))), 2)
        x = torch.relu(self.second_norm(self.second(x)))
        return self.head(x.amax((2, 3)))


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = Shapes()
    return {
        "model": model,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=5e-4),
        "train": DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=200),
        "epochs": 10,
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


def peer():
    x, x_val, y, y_val = rows()
    forest = RandomForestClassifier(200, random_state=0).fit(x.reshape(len(x), -1), y)
    return forest.score(x_val.reshape(len(x_val), -1), y_val)
