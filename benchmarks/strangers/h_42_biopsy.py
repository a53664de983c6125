"""Benign or malignant from thirty measurements of cell nuclei, logistic output."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make(seed=0):
    torch.manual_seed(seed)
    X, y = load_breast_cancer(return_X_y=True)
    Xt, Xv, yt, yv = train_test_split(X, y, test_size=0.3, random_state=6, stratify=y)
    s = StandardScaler().fit(Xt)
    pack = lambda a, b: TensorDataset(
        torch.tensor(s.transform(a), dtype=torch.float32), torch.tensor(b, dtype=torch.float32)[:, None]
    )
    model = nn.Sequential(nn.Linear(30, 8), nn.Tanh(), nn.Linear(8, 1), nn.Sigmoid())
    return dict(
        model=model,
        loss=nn.BCELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-3),
        train=DataLoader(pack(Xt, yt), batch_size=20, shuffle=False),
        val=DataLoader(pack(Xv, yv), batch_size=171),
        epochs=20,
        metric=lambda p, t: ((p > 0.5) == (t > 0.5)).float().mean().item(),
        train_step=None,
        evaluate=None,
    )
