"""Digits again, this time functional style."""

import sys
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _hdata import digits_split


class FNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(64, 40)
        self.l2 = nn.Linear(40, 40)
        self.l3 = nn.Linear(40, 10)

    def forward(self, x):
        x = F.dropout(F.relu(self.l1(x)), p=0.5)
        x = F.dropout(F.relu(self.l2(x)), p=0.5)
        return self.l3(x)


def make(seed=0):
    torch.manual_seed(seed)
    a, b, c, d = digits_split(400)
    net = FNet()
    return dict(
        model=net,
        loss=F.cross_entropy,
        optimizer=torch.optim.Adam(net.parameters(), 4e-3),
        train=DataLoader(TensorDataset(a, b), 32, shuffle=True),
        val=DataLoader(TensorDataset(c, d), 100),
        epochs=25,
        metric=lambda o, t: (o.argmax(1) == t).float().mean().item(),
        train_step=None,
        evaluate=None,
    )
