"""Multi-layer perceptron whose depth is set by a list of sizes; 8x8 digits."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _hdata


class MLP(nn.Module):
    def __init__(self, sizes, n_classes):
        super().__init__()
        self.layers = [nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:])]
        self.norm = nn.LayerNorm(sizes[-1])
        self.out = nn.Linear(sizes[-1], n_classes)

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.out(self.norm(x))


def make(seed=0):
    torch.manual_seed(seed)
    x, y, xv, yv = _hdata.digits_split()
    model = MLP([64, 48, 32, 24], 10)
    return {
        "model": model,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "train": DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True),
        "val": DataLoader(TensorDataset(xv, yv), batch_size=400),
        "epochs": 20,
        "metric": lambda out, t: (out.argmax(-1) == t).float().mean().item(),
        "train_step": None,
        "evaluate": None,
    }
