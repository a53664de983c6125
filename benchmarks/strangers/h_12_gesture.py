"""Gestures from a three-axis accelerometer: which of four movements was made? A GRU over twenty readings; learning-rate schedule as
in the paper."""

import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def gestures(n, steps=20):
    label = torch.randint(0, 4, (n,))
    t = torch.linspace(0, 1, steps)
    phase = torch.rand(n, 1) * 2 * math.pi
    freq = torch.tensor([1.0, 2.0, 3.0, 4.0])[label][:, None]
    wave = torch.sin(2 * math.pi * freq * t + phase)
    other = torch.cos(2 * math.pi * freq * t + phase)
    x = torch.stack([wave, other, torch.zeros_like(wave)], -1)
    return x + 0.3 * torch.randn_like(x), label


class GestureNet(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.rnn = nn.GRU(3, hidden)
        self.cls = nn.Linear(hidden, 4)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.cls(out[:, -1, :])


def make(seed=0):
    torch.manual_seed(seed)
    model = GestureNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)

    def train_step(model, loss, optimizer, x, y):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        scheduler.step()
        return value

    return dict(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        train=DataLoader(TensorDataset(*gestures(1200)), batch_size=40, shuffle=True),
        val=DataLoader(TensorDataset(*gestures(400)), batch_size=40),
        epochs=12,
        metric=lambda o, y: (o.argmax(1) == y).float().mean().item(),
        train_step=train_step,
        evaluate=None,
    )
