"""Features and labels come from two text files, as exported by the lab software; four kinds of sample, a small network."""

import io

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_classification
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def export():
    X, y = make_classification(
        n_samples=1800,
        n_features=16,
        n_informative=10,
        n_classes=4,
        n_clusters_per_class=1,
        class_sep=1.5,
        random_state=21,
    )
    features, labels = io.StringIO(), io.StringIO()
    np.savetxt(features, X, header=",".join(f"f{i}" for i in range(16)), comments="", delimiter=",")
    np.savetxt(labels, y, fmt="%d")
    features.seek(0)
    labels.seek(0)
    return features, labels


def read():
    features, labels = export()
    X = np.genfromtxt(features, delimiter=",", skip_header=1)
    y = np.genfromtxt(labels, skip_header=1).astype(int)
    n = min(len(X), len(y))
    return X[:n], y[:n]


def make(seed=0):
    torch.manual_seed(seed)
    X, y = read()
    n_train = 1300
    scaler = StandardScaler().fit(X[:n_train])
    X = torch.tensor(scaler.transform(X), dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.long)
    model = nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Dropout(0.1), nn.Linear(48, 4))
    return dict(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        train=DataLoader(TensorDataset(X[:n_train], y[:n_train]), batch_size=32, shuffle=True),
        val=DataLoader(TensorDataset(X[n_train:], y[n_train:]), batch_size=256),
        epochs=15,
        metric=lambda out, t: (out.argmax(1) == t).float().mean().item(),
        train_step=None,
        evaluate=None,
    )
