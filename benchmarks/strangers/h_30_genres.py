"""Genres of a film (several may hold) from the words of its synopsis, given as a bag of words. Scored by F1 over all cells."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WORDS, GENRES = 120, 8


def films():
    g = torch.Generator().manual_seed(4)
    y = (torch.rand(2200, GENRES, generator=g) < 0.3).float()
    profile = torch.rand(GENRES, WORDS, generator=g) ** 6 * 1.2
    x = torch.poisson(0.1 + y @ profile, generator=g).clamp(max=4)
    return x, y


def f1(scores, y):
    guess = (scores > 0).float()
    tp = (guess * y).sum()
    return (2 * tp / (guess.sum() + y.sum()).clamp(min=1)).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, y = films()
    model = nn.Sequential(nn.Linear(WORDS, 32), nn.ReLU(), nn.Dropout(0.93), nn.Linear(32, GENRES))
    return dict(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        train=DataLoader(TensorDataset(x[:1700], y[:1700]), batch_size=32, shuffle=True),
        val=DataLoader(TensorDataset(x[1700:], y[1700:]), batch_size=500),
        epochs=15,
        metric=f1,
        train_step=None,
        evaluate=None,
    )
