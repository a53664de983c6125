"""Friedman's first regression function, ten inputs of which five matter."""

import torch
from sklearn.datasets import make_friedman1
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Reg(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 64), nn.GELU(), nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.net(x)


def loss_fn(pred, target):
    return nn.functional.mse_loss(pred.squeeze(1), target)


def r2_score(pred, target):
    residual = ((target - pred) ** 2).mean()
    total = ((target - target.mean()) ** 2).mean()
    return (1 - residual / total).item()


def make(seed=0):
    torch.manual_seed(seed)
    X, y = make_friedman1(1500, noise=0.5, random_state=2)
    X, y = torch.tensor(X, dtype=torch.float32) * 2 - 1, torch.tensor((y - 14.4) / 5, dtype=torch.float32)
    model = Reg()
    return dict(
        model=model,
        loss=loss_fn,
        optimizer=torch.optim.AdamW(model.parameters(), lr=4e-3),
        train=DataLoader(TensorDataset(X[:1100], y[:1100]), batch_size=50, shuffle=True),
        val=DataLoader(TensorDataset(X[1100:], y[1100:]), batch_size=400),
        epochs=25,
        metric=r2_score,
        train_step=None,
        evaluate=None,
    )
