"""Two outputs of a simulated process from six settings; the outputs are scaled to unit variance with the training rows."""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def process(n=3000):
    r = np.random.RandomState(12)
    S = r.uniform(-1, 1, (n, 6))
    flow = 4000 + 900 * S[:, 0] * S[:, 1] + 600 * np.sin(2 * S[:, 2])
    heat = 0.02 + 0.01 * S[:, 3] - 0.008 * S[:, 4] ** 2 + 0.004 * S[:, 0]
    Y = np.stack([flow + 30 * r.randn(n), heat + 0.0004 * r.randn(n)], 1)
    return S, Y


def make(seed=0):
    torch.manual_seed(seed)
    S, Y = process()
    m, s = Y[:2400].mean(0), Y[:2400].std(0)
    S, Y = torch.tensor(S, dtype=torch.float32), torch.tensor((Y - m) / s, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(6, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 2))
    r2 = lambda p, y: (1 - (p - y).pow(2).sum(0) / (y - y.mean(0)).pow(2).sum(0)).mean().item()
    return dict(
        model=model,
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=4e-3),
        train=DataLoader(TensorDataset(S[:2400], Y[:2400]), batch_size=64, shuffle=True),
        val=DataLoader(TensorDataset(S[2400:], Y[2400:]), batch_size=600),
        epochs=20,
        metric=r2,
        train_step=None,
        evaluate=None,
    )
