"""Good or bad, from the words of a made review: a mean of word vectors, Adagrad, one logit; every tenth label is a whim."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WORDS, LENGTH = 300, 25


def rows(count=4000, held_out=1000):
    luck = np.random.default_rng(13)
    frequency = 1 / np.arange(1, WORDS + 1)
    words = luck.choice(WORDS, (count, LENGTH), p=frequency / frequency.sum())
    tone = luck.permutation(np.r_[np.ones(40), -np.ones(40), np.zeros(WORDS - 80)])
    mood = tone[words].sum(1) + 0.5 * luck.normal(size=count)
    good = np.where(luck.random(count) < 0.1, luck.random(count) < 0.5, mood > np.median(mood))
    return words[held_out:], words[:held_out], good[held_out:], good[:held_out]


class Review(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.words = nn.EmbeddingBag(WORDS, width, mode="mean")
        self.good = nn.Linear(width, 1)

    def forward(self, tokens):
        return self.good(self.words(tokens))


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = Review()
    return {
        "model": model,
        "loss": nn.BCEWithLogitsLoss(),
        "optimizer": torch.optim.Adagrad(model.parameters(), lr=0.1),
        "train": DataLoader(TensorDataset(x, y[:, None].float()), batch_size=40, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val[:, None].float()), batch_size=500),
        "epochs": 15,
        "metric": lambda logit, y: ((logit > 0).float() == y).float().mean().item(),
    }


def counted(words):
    return np.stack([np.bincount(row, minlength=WORDS) for row in words])


def peer():
    x, x_val, y, y_val = rows()
    return LogisticRegression(max_iter=1000).fit(counted(x), y).score(counted(x_val), y_val)
