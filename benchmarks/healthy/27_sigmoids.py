"""Digits the old way: sigmoid units, log-softmax and the negative log-likelihood, four rows at a time, SGD with momentum."""

import torch
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows():
    x, y = load_digits(return_X_y=True)
    return train_test_split(x.astype("float32") / 8 - 1, y, test_size=500, random_state=27)


class OldNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(64, 40)
        self.outer = nn.Linear(40, 10)
        for layer in (self.inner, self.outer):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        hidden = torch.sigmoid(self.inner(x))
        return nn.functional.log_softmax(self.outer(hidden), dim=-1)


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = OldNet()
    return {
        "model": model,
        "loss": nn.functional.nll_loss,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.8),
        "train": DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=500),
        "epochs": 12,
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


def peer():
    x, x_val, y, y_val = rows()
    return LinearDiscriminantAnalysis().fit(x, y).score(x_val, y_val)
