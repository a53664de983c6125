"""Number of bicycle rentals per hour from weather readings: a count model with a log link."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def simulate(n=2400):
    rng = np.random.RandomState(42)
    temp, wind, hour = rng.randn(n), rng.randn(n), rng.uniform(0, 2 * np.pi, n)
    rate = np.exp(1.2 + 0.5 * temp - 0.3 * wind + 0.6 * np.sin(hour))
    counts = rng.poisson(rate)
    X = np.c_[temp, wind, np.sin(hour), np.cos(hour)].astype("float32")
    return torch.from_numpy(X), torch.from_numpy(counts.astype("float32"))


class CountNet(nn.Module):
    def __init__(self):
        super(CountNet, self).__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, x):
        return self.body(x).squeeze(-1)


def criterion(log_rate, counts):
    return F.poisson_nll_loss(counts, log_rate, log_input=True)


def score(log_rate, counts):
    """R2 of the predicted rate, cut off at -1."""
    pred = log_rate.exp()
    r2 = 1 - ((pred - counts) ** 2).sum() / ((counts - counts.mean()) ** 2).sum()
    return max(-1.0, r2.item()) if torch.isfinite(r2) else -1.0


def make(seed=0):
    torch.manual_seed(seed)
    X, y = simulate()
    model = CountNet()
    return dict(
        model=model,
        loss=criterion,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.005),
        train=DataLoader(TensorDataset(X[:1800], y[:1800]), batch_size=60, shuffle=True),
        val=DataLoader(TensorDataset(X[1800:], y[1800:]), batch_size=600),
        epochs=15,
        metric=score,
        train_step=None,
        evaluate=None,
    )
