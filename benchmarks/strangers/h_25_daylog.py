"""Machine states from a log of counters, temperatures and shares."""

import numpy as np
import torch
from sklearn.datasets import make_classification
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

UNITS = np.array([1, 1, 400, 1, 1, 0.1, 1, 1200, 1, 1, 0.1, 1])


def log():
    X, y = make_classification(
        2000, 12, n_informative=9, n_redundant=0, n_classes=4, n_clusters_per_class=1, class_sep=1.4, random_state=9
    )
    X = X * UNITS
    return X[:1500], y[:1500], X[1500:], y[1500:]


def make(seed=0):
    torch.manual_seed(seed)
    X, y, Xv, yv = log()
    by_state = np.argsort(y, kind="stable")
    X, y = X[by_state], y[by_state]
    train = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y))
    val = TensorDataset(torch.tensor(Xv, dtype=torch.float32), torch.tensor(yv))
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 4))
    opt = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return dict(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=opt,
        train=DataLoader(train, batch_size=25),
        val=DataLoader(val, batch_size=500),
        epochs=15,
        metric=lambda o, t: (o.argmax(1) == t).float().mean().item(),
        train_step=None,
        evaluate=None,
    )
