"""Handwritten digits of 8 × 8 pixels: one hidden layer of ReLU, SGD with momentum, cross-entropy."""

import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows():
    x, y = load_digits(return_X_y=True)
    return train_test_split(x.astype("float32") / 16, y, test_size=450, random_state=0, stratify=y)


def accuracy(out, y):
    return (out.argmax(1) == y).float().mean().item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    return {
        "model": model,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        "train": DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=450),
        "epochs": 25,
        "metric": accuracy,
    }


def peer():
    x, x_val, y, y_val = rows()
    return LogisticRegression(max_iter=1000).fit(x, y).score(x_val, y_val)
