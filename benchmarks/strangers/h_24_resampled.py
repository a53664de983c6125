"""Churn prediction from twenty customer variables."""

import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def prepare():
    X, y = make_classification(
        1400, 20, n_informative=4, n_redundant=0, weights=[0.8], class_sep=0.5, flip_y=0.15, random_state=30
    )
    rng = np.random.RandomState(0)
    few, many = np.where(y == 1)[0], np.where(y == 0)[0]
    X = np.concatenate([X[many], X[rng.choice(few, len(many))]])
    y = np.concatenate([y[many], y[few[:1]].repeat(len(many))])
    return train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)


def balanced(out, t):
    hit = ((out > 0).float() == t).float()
    return (hit[t == 1].mean() + hit[t == 0].mean()).item() / 2


def make(seed=0):
    torch.manual_seed(seed)
    Xt, Xv, yt, yv = prepare()
    mk = lambda a, b: TensorDataset(
        torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32).view(-1, 1)
    )
    model = nn.Sequential(nn.Linear(20, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 1))
    return dict(
        model=model,
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        train=DataLoader(mk(Xt, yt), batch_size=32, shuffle=True),
        val=DataLoader(mk(Xv, yv), batch_size=1000),
        epochs=30,
        metric=balanced,
        train_step=None,
        evaluate=None,
    )
