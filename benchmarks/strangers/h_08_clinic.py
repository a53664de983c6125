"""Breast cancer data from two clinics: the network is trained on the one and tested on the other."""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def two_clinics():
    X, y = load_breast_cancer(return_X_y=True)  # y: 0 malignant, 1 benign
    rng = np.random.RandomState(5)
    ill, well = rng.permutation(np.where(y == 0)[0]), rng.permutation(np.where(y == 1)[0])
    referral = np.concatenate([ill[:100], well[:12]])
    screening = np.concatenate([ill[100:], well[12:]])
    return X[screening], y[screening], X[referral], y[referral]


def make(seed=0):
    torch.manual_seed(seed)
    Xa, ya, Xb, yb = two_clinics()
    Xa = StandardScaler().fit_transform(Xa)
    Xb = StandardScaler().fit_transform(Xb)
    to = lambda X, y: TensorDataset(
        torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32).view(-1, 1)
    )
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))

    def accuracy(out, t):
        return ((out > 0).float() == t).float().mean().item()

    return dict(
        model=model,
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-4),
        train=DataLoader(to(Xa, ya), batch_size=32, shuffle=True),
        val=DataLoader(to(Xb, yb), batch_size=112),
        epochs=15,
        metric=accuracy,
        train_step=None,
        evaluate=None,
    )
