"""Two rectified layers with adjustable thresholds on the 8x8 digits."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _hdata


def sparse_layer(n_in, n_out, threshold):
    layer = nn.Linear(n_in, n_out)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.constant_(layer.bias, -threshold)
    return layer


def make(seed=0):
    torch.manual_seed(seed)
    xt, yt, xv, yv = _hdata.digits_split()
    model = nn.Sequential(sparse_layer(64, 64, 2.0), nn.ReLU(), sparse_layer(64, 32, 2.0), nn.ReLU(), nn.Linear(32, 10))
    return dict(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        train=DataLoader(TensorDataset(xt, yt), batch_size=32, shuffle=True),
        val=DataLoader(TensorDataset(xv, yv), batch_size=400),
        epochs=20,
        metric=lambda o, t: (o.argmax(1) == t).float().mean().item(),
        train_step=None,
        evaluate=None,
    )
