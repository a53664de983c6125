"""One made payment in twenty is fraud: rare rows are drawn more often, and precision is averaged over recalls."""

import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler


def rows():
    x, y = make_classification(
        5000, 15, n_informative=8, n_redundant=2, weights=[0.95], class_sep=1.3, flip_y=0.01, random_state=24
    )
    x, x_val, y, y_val = train_test_split(x.astype("float32"), y, test_size=1500, random_state=24, stratify=y)
    mean, spread = x.mean(0), x.std(0)
    return (x - mean) / spread, (x_val - mean) / spread, y.astype("float32"), y_val.astype("float32")


def average_precision(logit, y):
    hits = y.flatten()[logit.flatten().argsort(descending=True)]
    at = torch.arange(1, len(hits) + 1)
    return ((hits.cumsum(0) / at)[hits > 0].mean()).item()


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = nn.Sequential(nn.Linear(15, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1))
    often = torch.where(y > 0, 5.0, 1.0)
    sampler = WeightedRandomSampler(often.tolist(), len(y))
    return {
        "model": model,
        "loss": nn.BCEWithLogitsLoss(),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02),
        "train": DataLoader(TensorDataset(x, y[:, None]), batch_size=64, sampler=sampler),
        "val": DataLoader(TensorDataset(x_val, y_val[:, None]), batch_size=500),
        "epochs": 15,
        "metric": average_precision,
    }


def peer():
    x, x_val, y, y_val = rows()
    trees = HistGradientBoostingClassifier(random_state=0).fit(x, y)
    return float(average_precision_score(y_val, np.asarray(trees.predict_proba(x_val))[:, 1]))
