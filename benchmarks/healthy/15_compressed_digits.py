"""Digits pressed into twelve numbers and back: an autoencoder whose decoder is its encoder turned round (tied weights)."""

import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

CODE = 12


def rows():
    x = load_digits().data.astype("float32") / 16
    x, x_val = train_test_split(x, test_size=400, random_state=15)
    return x - x.mean(0), x_val - x.mean(0)


class Tied(nn.Module):
    def __init__(self, inputs=64, hidden=48):
        super().__init__()
        self.first = nn.Parameter(nn.init.orthogonal_(torch.empty(hidden, inputs)))
        self.second = nn.Parameter(nn.init.orthogonal_(torch.empty(CODE, hidden)))
        self.biases = nn.ParameterList(torch.zeros(size) for size in (hidden, CODE, hidden, inputs))

    def forward(self, x):
        down, code, up, out = self.biases
        x = nn.functional.linear(nn.functional.elu(nn.functional.linear(x, self.first, down)), self.second, code)
        return nn.functional.linear(nn.functional.elu(nn.functional.linear(x, self.second.T, up)), self.first.T, out)


def explained(out, x):
    return 1 - ((out - x).square().sum() / (x - x.mean(0)).square().sum()).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val = map(torch.from_numpy, rows())
    model = Tied()
    return {
        "model": model,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train": DataLoader(TensorDataset(x, x), batch_size=32, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, x_val), batch_size=400),
        "epochs": 40,
        "metric": explained,
    }


def peer():
    x, x_val = rows()
    pca = PCA(CODE, random_state=0).fit(x)
    return explained(torch.tensor(pca.inverse_transform(pca.transform(x_val))), torch.tensor(x_val))
