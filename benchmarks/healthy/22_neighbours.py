"""Digits as points on a sphere, like ones near each other: the hardest triplets of a batch, one nearest neighbour."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import LeaveOneOut, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows():
    x, y = load_digits(return_X_y=True)
    return train_test_split(x.astype("float32") / 16, y, test_size=400, random_state=22)


class Sphere(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, width))

    def forward(self, x):
        return nn.functional.normalize(self.body(x), dim=1)


def hardest_triplets(point, label, margin=0.3):
    far = torch.cdist(point, point)
    same = label[:, None] == label
    friend = far.masked_fill(~same, 0).amax(1)
    stranger = far.masked_fill(same, 9).amin(1)
    return torch.relu(friend - stranger + margin).mean()


def neighbour(point, label):
    """How often the nearest other point has the same label."""
    far = torch.cdist(point, point).fill_diagonal_(torch.inf)
    return (label[far.argmin(1)] == label).float().mean().item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = Sphere()
    return {
        "model": model,
        "loss": hardest_triplets,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train": DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True, drop_last=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=400),
        "epochs": 30,
        "metric": neighbour,
    }


def peer():
    _, x_val, _, y_val = rows()
    return cross_val_score(KNeighborsClassifier(1), x_val, y_val, cv=LeaveOneOut()).mean()
