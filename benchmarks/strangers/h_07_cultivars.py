"""Three cultivars of wine from thirteen chemical measurements."""

import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def standardize(a):
    mu = a.mean(axis=1, keepdims=True)
    sd = a.std(axis=1, keepdims=True)
    return (a - mu) / sd


def make(seed=0):
    torch.manual_seed(seed)
    X, y = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.35, random_state=1, stratify=y)
    X_train, X_test = standardize(X_train), standardize(X_test)
    as_set = lambda a, b: TensorDataset(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.long))
    model = nn.Sequential(nn.Linear(13, 20), nn.ReLU(), nn.Linear(20, 3))
    return dict(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        train=DataLoader(as_set(X_train, y_train), batch_size=16, shuffle=True),
        val=DataLoader(as_set(X_test, y_test), batch_size=70),
        epochs=40,
        metric=lambda o, t: float((o.argmax(1) == t).numpy().mean()),
        train_step=None,
        evaluate=None,
    )
