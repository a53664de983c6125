"""Malignant or not, from thirty measurements of cells: tanh units, one logit, RMSprop with a little weight decay."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows():
    x, y = load_breast_cancer(return_X_y=True)
    x, x_val, y, y_val = train_test_split(x, y, test_size=170, random_state=0, stratify=y)
    scaler = StandardScaler().fit(x)
    return scaler.transform(x), scaler.transform(x_val), y, y_val


class Tumour(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.logit = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.logit(torch.tanh(self.hidden(x))).squeeze(1)


def accuracy(logit, y):
    return ((logit > 0) == (y > 0.5)).float().mean().item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = (torch.tensor(part, dtype=torch.float32) for part in rows())
    model = Tumour(30, 16)
    return {
        "model": model,
        "loss": nn.BCEWithLogitsLoss(),
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3, weight_decay=1e-3),
        "train": DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=170),
        "epochs": 40,
        "metric": accuracy,
    }


def peer():
    x, x_val, y, y_val = rows()
    return LogisticRegression().fit(x, y).score(x_val, y_val)
