"""Disease progression after one year (diabetes data), all products of two measurements added as columns."""

import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def load():
    X, y = load_diabetes(return_X_y=True)
    X = PolynomialFeatures(2, include_bias=False).fit_transform(X)
    Xt, Xv, yt, yv = train_test_split(X, y, test_size=0.3, random_state=4)
    sx = StandardScaler().fit(Xt)
    mean, std = yt.mean(), yt.std()
    t = lambda a: torch.tensor(a, dtype=torch.float32)
    return (
        TensorDataset(t(sx.transform(Xt)), t((yt - mean) / std)[:, None]),
        TensorDataset(t(sx.transform(Xv)), t((yv - mean) / std)[:, None]),
    )


def make(seed=0):
    torch.manual_seed(seed)
    train, val = load()
    model = nn.Sequential(nn.Linear(65, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 1))
    r2 = lambda p, y: (1 - ((p - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()).item()
    return dict(
        model=model,
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        train=DataLoader(train, batch_size=16, shuffle=True),
        val=DataLoader(val, batch_size=133),
        epochs=60,
        metric=r2,
        train_step=None,
        evaluate=None,
    )
