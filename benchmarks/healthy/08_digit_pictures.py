"""Digits as pictures: two convolutions with batch normalisation, AdamW, the rate warmed up and cooled down (one cycle)."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 8


def rows():
    pictures, y = load_digits(return_X_y=True)
    return train_test_split(pictures.astype("float32") / 16, y, test_size=400, random_state=8)


def block(inputs, outputs):
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    train = DataLoader(TensorDataset(x.view(-1, 1, 8, 8), y), batch_size=64, shuffle=True, drop_last=True)
    model = nn.Sequential(*block(1, 16), *block(16, 32), nn.Flatten(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=EPOCHS * len(train) + 1)

    def train_step(model, loss, optimizer, input, target):
        optimizer.zero_grad(set_to_none=True)
        value = loss(model(input), target)
        value.backward()
        optimizer.step()
        if schedule.last_epoch < schedule.total_steps - 1:
            schedule.step()
        return value.detach()

    return {
        "model": model,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optimizer,
        "train": train,
        "val": DataLoader(TensorDataset(x_val.view(-1, 1, 8, 8), y_val), batch_size=100),
        "epochs": EPOCHS,
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
        "train_step": train_step,
    }


def peer():
    x, x_val, y, y_val = rows()
    return SVC().fit(x, y).score(x_val, y_val)
