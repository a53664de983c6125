"""Two moons that run into each other: training moves a network, and its moving average is the one that is validated."""

import torch
from sklearn.datasets import make_moons
from sklearn.svm import SVC
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset


def rows():
    x, y = make_moons(1600, noise=0.3, random_state=20)
    return x[400:].astype("float32"), x[:400].astype("float32"), y[400:], y[:400]


def accuracy(out, y):
    return (out.argmax(1) == y).float().mean().item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(), nn.Linear(32, 32), nn.LeakyReLU(), nn.Linear(32, 2))
    shadow = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.98))

    def train_step(model, loss, optimizer, input, target):
        optimizer.zero_grad()
        value = loss(model(input), target)
        value.backward()
        optimizer.step()
        shadow.update_parameters(model)
        return value.detach()

    def evaluate(model, val):
        shadow.eval()
        with torch.no_grad():
            right = [(shadow(input).argmax(1) == target).float() for input, target in val]
        return torch.cat(right).mean().item()

    return {
        "model": model,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "train": DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=100),
        "epochs": 25,
        "metric": accuracy,
        "train_step": train_step,
        "evaluate": evaluate,
    }


def peer():
    x, x_val, y, y_val = rows()
    return SVC().fit(x, y).score(x_val, y_val)
