"""Learning to rank from pairs: which of two items does the customer prefer? Both go through the same scorer."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Scorer(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, pair):  # (B, 2, 8)
        s = self.f(pair).squeeze(-1)
        return s[:, 0] - s[:, 1]


def pairs(n):
    x = torch.randn(n, 2, 8)
    worth = x[..., 0] - 0.7 * x[..., 1] + x[..., 2].abs() + 0.1 * torch.randn(n, 2)
    return x, torch.where(worth[:, 0] > worth[:, 1], 1.0, -1.0)


def pair_loss(gap, sign):
    return F.softplus(-sign * gap).mean()


def make(seed=0):
    torch.manual_seed(seed)
    m = Scorer()
    return dict(
        model=m,
        loss=pair_loss,
        optimizer=torch.optim.RMSprop(m.parameters(), lr=3e-3),
        train=DataLoader(TensorDataset(*pairs(3000)), batch_size=60, shuffle=True),
        val=DataLoader(TensorDataset(*pairs(700)), batch_size=350),
        epochs=15,
        metric=lambda gap, sign: (torch.sign(gap) == sign).float().mean().item(),
        train_step=None,
        evaluate=None,
    )
