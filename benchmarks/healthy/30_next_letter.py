"""The next letter of a made language, at every place at once: a GRU whose output layer is its table of letters (tied)."""

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LETTERS, LENGTH = 16, 24


def rows(held_out=150, count=750):
    luck = np.random.default_rng(30)
    after = luck.dirichlet(np.full(LETTERS, 0.1), (LETTERS, 3))  # by the letter before, and the one before that
    text = luck.integers(0, LETTERS, (count, LENGTH + 1))
    for place in range(2, LENGTH + 1):
        odds = after[text[:, place - 1], text[:, place - 2] % 3].cumsum(1)
        text[:, place] = (luck.random((count, 1)) > odds).sum(1).clip(max=LETTERS - 1)
    return text[held_out:, :-1], text[:held_out, :-1], text[held_out:, 1:], text[:held_out, 1:]


class Letters(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.table = nn.Embedding(LETTERS, width)
        nn.init.normal_(self.table.weight, std=width**-0.5)
        self.recur = nn.GRU(width, width, batch_first=True)

    def forward(self, text):
        states, _ = self.recur(self.table(text))
        return (states @ self.table.weight.T).transpose(1, 2)  # (rows, letters, places)


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = (torch.tensor(part) for part in rows())
    model = Letters()
    return {
        "model": model,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
        "train": DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=150),
        "epochs": 15,
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


def pairs(text):
    """Each letter and the one before it; a text has none before its first."""
    return np.stack([text, np.c_[np.full(len(text), -1), text[:, :-1]]], 2).reshape(-1, 2)


def peer():
    x, x_val, y, y_val = rows()
    forest = RandomForestClassifier(50, min_samples_leaf=3, random_state=0).fit(pairs(x), y.ravel())
    return forest.score(pairs(x_val), y_val.ravel())
