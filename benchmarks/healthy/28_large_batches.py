"""Twelve thousand made rows, six hundred at a time: the rate is as much larger as the batch, and warmed up for an epoch."""

import torch
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows():
    x, y = make_classification(
        12000, 20, n_informative=10, n_redundant=4, n_classes=4, class_sep=1.4, flip_y=0.02, random_state=28
    )
    x, x_val, y, y_val = train_test_split(x.astype("float32"), y, test_size=3000, random_state=28)
    mean, spread = x.mean(0), x.std(0)
    return (x - mean) / spread, (x_val - mean) / spread, y, y_val


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = nn.Sequential(
        nn.Linear(20, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 4)
    )
    train = DataLoader(TensorDataset(x, y), batch_size=600, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02 * 600 / 32, momentum=0.9)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.05, total_iters=len(train))

    def train_step(model, loss, optimizer, input, target):
        optimizer.zero_grad()
        value = loss(model(input), target)
        value.backward()
        optimizer.step()
        warm.step()
        return value.detach()

    return {
        "model": model,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optimizer,
        "train": train,
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=1000),
        "epochs": 25,
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
        "train_step": train_step,
    }


def peer():
    x, x_val, y, y_val = rows()
    return HistGradientBoostingClassifier(random_state=0).fit(x, y).score(x_val, y_val)
