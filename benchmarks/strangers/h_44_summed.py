"""Digits with SGD; the loss is summed over the batch and the rate chosen to suit."""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _hdata import digits_split


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 16, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x.view(-1, 1, 8, 8))), 2)
        return F.log_softmax(self.fc(x.flatten(1)), dim=1)


def make(seed=0):
    torch.manual_seed(seed)
    a, b, c, d = digits_split()
    net = Small()
    return dict(
        model=net,
        loss=nn.NLLLoss(reduction="sum"),
        optimizer=torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9),
        train=DataLoader(TensorDataset(a, b), batch_size=32, shuffle=True),
        val=DataLoader(TensorDataset(c, d), 400),
        epochs=20,
        metric=lambda o, t: (o.argmax(1) == t).float().mean().item(),
        train_step=None,
        evaluate=None,
    )
