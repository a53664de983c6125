"""Readers shared by some of the programs in this folder. MNIST's test files lie where `seminal train MODEL mnist` puts them."""

import gzip
import os
from pathlib import Path

import numpy as np
import torch

ROOT = Path(os.environ.get("SEMINAL_DATA") or "~/.cache/seminal").expanduser()


def mnist_raw():
    folder = ROOT / "mnist"
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8).astype(np.int64)
    return images, labels


def mnist(n_train=2000, n_val=800, seed=3):
    """(N, 1, 28, 28) floats in 0..1 and integer labels, training and validation part."""
    images, labels = mnist_raw()
    order = np.random.RandomState(seed).permutation(len(images))[: n_train + n_val]
    x = torch.tensor(images[order], dtype=torch.float32)[:, None] / 255
    y = torch.tensor(labels[order])
    return x[:n_train], y[:n_train], x[n_train:], y[n_train:]


def digits_split(n_val=400, seed=11):
    """(N, 64) floats in 0..1 and integer labels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.RandomState(seed).permutation(len(x))
    x, y = torch.tensor(x[order] / 16, dtype=torch.float32), torch.tensor(y[order], dtype=torch.long)
    return x[n_val:], y[n_val:], x[:n_val], y[:n_val]
