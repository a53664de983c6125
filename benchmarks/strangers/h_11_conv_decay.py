"""Small convolutional network on the 8x8 digits."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _hdata


def make(seed=0):
    torch.manual_seed(seed)
    x, y, xv, yv = _hdata.digits_split()
    x, xv = x.view(-1, 1, 8, 8), xv.view(-1, 1, 8, 8)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    opt = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-1)
    return dict(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=opt,
        train=DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True),
        val=DataLoader(TensorDataset(xv, yv), batch_size=200),
        epochs=10,
        metric=lambda out, t: (out.argmax(1) == t).float().mean().item(),
        train_step=None,
        evaluate=None,
    )
