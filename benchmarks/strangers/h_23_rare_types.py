"""Three types of defect on a production line; the score is the mean recall over the types."""

import numpy as np
import torch
from sklearn.datasets import make_classification
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def macro_recall(out, y):
    guess = out.argmax(1)
    return float(np.mean([(guess[y == k] == k).float().mean().item() for k in range(3)]))


def make(seed=0):
    torch.manual_seed(seed)
    X, y = make_classification(
        4500,
        10,
        n_informative=6,
        n_redundant=0,
        n_classes=3,
        n_clusters_per_class=1,
        weights=[0.93, 0.045, 0.025],
        class_sep=0.7,
        flip_y=0.0,
        random_state=17,
    )
    X = (X - X.mean(0)) / X.std(0)
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    net = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 3))
    crit = nn.CrossEntropyLoss()
    return dict(
        model=net,
        loss=crit,
        optimizer=torch.optim.Adam(net.parameters(), lr=2e-3),
        train=DataLoader(TensorDataset(X[:3000], y[:3000]), batch_size=64, shuffle=True),
        val=DataLoader(TensorDataset(X[3000:], y[3000:]), batch_size=1500),
        epochs=8,
        metric=macro_recall,
        train_step=None,
        evaluate=None,
    )
