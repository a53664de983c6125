"""Digits in small parts: the gradients of four batches of eight are added up before each step of Adam."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PARTS = 4


def rows():
    x, y = load_digits(return_X_y=True)
    x = (x - 4.9) / 6.0  # mean and spread of a pixel
    return train_test_split(x.astype("float32"), y, train_size=1280, random_state=21, stratify=y)


def gathering_step():
    seen = 0

    def step(model, loss, optimizer, input, target):
        nonlocal seen
        value = loss(model(input), target)
        (value / PARTS).backward()
        seen += 1
        if seen % PARTS == 0:
            optimizer.step()
            optimizer.zero_grad()
        return value.detach()

    return step


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10))
    return {
        "model": model,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train": DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=256),
        "epochs": 24,
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
        "train_step": gathering_step(),
    }


def peer():
    x, x_val, y, y_val = rows()
    return MLPClassifier((64,), max_iter=500, random_state=0).fit(x, y).score(x_val, y_val)
