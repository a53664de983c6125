"""Which of six topics a made text touches, none to several: layer normalisation, a logit for each, micro-averaged F1."""

import torch
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def rows(held_out=700):
    x, y = make_multilabel_classification(
        3500, n_features=40, n_classes=6, n_labels=2, length=80, random_state=16, allow_unlabeled=True
    )
    x = x**0.5  # counts: their spread then is alike
    mean, spread = x[held_out:].mean(0), x[held_out:].std(0)
    x = (x - mean) / spread
    return x[held_out:], x[:held_out], y[held_out:], y[:held_out]


def f1(logits, y):
    said, meant = logits > 0, y > 0.5
    return (2 * (said & meant).sum() / (said.sum() + meant.sum())).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = (torch.tensor(part, dtype=torch.float32) for part in rows())
    model = nn.Sequential(nn.Linear(40, 64), nn.LayerNorm(64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 6))
    return {
        "model": model,
        "loss": nn.BCEWithLogitsLoss(),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05),
        "train": DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=700),
        "epochs": 18,
        "metric": f1,
    }


def peer():
    x, x_val, y, y_val = rows()
    lines = OneVsRestClassifier(LogisticRegression(max_iter=1000)).fit(x, y)
    return f1(torch.tensor(lines.decision_function(x_val)), torch.tensor(y_val))
