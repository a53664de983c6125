"""Low-rank linear map between two sets of thirty measurements, learned as a product of two factors."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LowRank(nn.Module):
    def __init__(self, n, rank):
        super().__init__()
        self.U = nn.Parameter(1e-5 * torch.randn(n, rank))
        self.V = nn.Parameter(1e-5 * torch.randn(rank, n))

    def forward(self, x):
        return x @ self.U @ self.V


def world():
    g = torch.Generator().manual_seed(1)
    M = torch.randn(30, 3, generator=g) @ torch.randn(3, 30, generator=g) / 30**0.5
    x = torch.randn(1600, 30, generator=g)
    return x, x @ M + 0.1 * torch.randn(1600, 30, generator=g)


def make(seed=0):
    torch.manual_seed(seed)
    x, y = world()
    model = LowRank(30, 4)
    return dict(
        model=model,
        loss=nn.MSELoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
        train=DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=40, shuffle=True),
        val=DataLoader(TensorDataset(x[1200:], y[1200:]), batch_size=400),
        epochs=12,
        metric=lambda p, t: (1 - (p - t).pow(2).sum() / (t - t.mean(0)).pow(2).sum()).item(),
        train_step=None,
        evaluate=None,
    )
