"""Autoencoder for the chemical profile of wines and for images alike; here the 8x8 digits, columns standardised."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _hdata


class AutoEncoder(nn.Module):
    def __init__(self, code=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, code))
        self.decoder = nn.Sequential(nn.Linear(code, 64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x))


def explained(out, x):
    return (1 - (out - x).pow(2).sum() / (x - x.mean(0)).pow(2).sum()).item()


def make(seed=0):
    torch.manual_seed(seed)
    xt, _, xv, _ = _hdata.digits_split()
    mean, std = xt.mean(0), xt.std(0) + 0.05
    xt, xv = (xt - mean) / std, (xv - mean) / std
    model = AutoEncoder()
    return dict(
        model=model,
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        train=DataLoader(TensorDataset(xt, xt), batch_size=32, shuffle=True),
        val=DataLoader(TensorDataset(xv, xv), batch_size=400),
        epochs=20,
        metric=explained,
        train_step=None,
        evaluate=None,
    )
