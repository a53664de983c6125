"""Fully connected network with batch normalisation on MNIST."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _hdata

cfg = {"batch_size": 2, "lr": 2e-3, "epochs": 4, "hidden": 64}


def block(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU())


def make(seed=0):
    torch.manual_seed(seed)
    x, y, xv, yv = _hdata.mnist(1200, 800)
    h = cfg["hidden"]
    model = nn.Sequential(nn.Flatten(), block(784, h), block(h, h), nn.Linear(h, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg["lr"])
    train = DataLoader(TensorDataset(x, y), batch_size=cfg["batch_size"], shuffle=True, drop_last=True)
    val = DataLoader(TensorDataset(xv, yv), batch_size=200)
    return dict(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        train=train,
        val=val,
        epochs=cfg["epochs"],
        metric=lambda out, t: (out.argmax(1) == t).float().mean().item(),
        train_step=None,
        evaluate=None,
    )
