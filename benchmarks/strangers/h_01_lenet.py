"""LeNet-style network on handwritten digits, course notebook week 4."""

import sys
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
import _hdata


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 12, 3)
        self.fc1 = nn.Linear(12 * 5 * 5, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


def accuracy(outputs, labels):
    _, predicted = torch.max(outputs, 1)
    return (predicted == labels).sum().item() / labels.size(0)


def make(seed=0):
    torch.manual_seed(seed)
    xtr, ytr, xte, yte = _hdata.mnist(1500, 600)
    net = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(net.parameters(), lr=0.06)
    trainloader = DataLoader(TensorDataset(xtr, ytr), batch_size=32, shuffle=True)
    testloader = DataLoader(TensorDataset(xte, yte), batch_size=200)
    return dict(
        model=net,
        loss=criterion,
        optimizer=optimizer,
        train=trainloader,
        val=testloader,
        epochs=4,
        metric=accuracy,
        train_step=None,
        evaluate=None,
    )
