"""Which of six letters stands most often in a text of sixteen? A small Transformer, AdamW with a warm-up."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LETTERS, LENGTH = 6, 16


def counted(text):
    return (text[:, :, None] == np.arange(LETTERS)).sum(1)


def rows(count=4000, held_out=600):
    luck = np.random.default_rng(14)
    text = luck.integers(0, LETTERS, (count, LENGTH))
    text = text[np.diff(np.sort(counted(text)))[:, -1] > 0]  # where one letter wins
    answer = counted(text).argmax(1)
    return text[held_out:], text[:held_out], answer[held_out:], answer[:held_out]


class Reader(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.token, self.place = nn.Embedding(LETTERS, width), nn.Parameter(0.02 * torch.randn(LENGTH, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)
        self.answer = nn.Linear(width, LETTERS)

    def forward(self, text):
        return self.answer(self.encoder(self.token(text) + self.place).mean(1))


def make(seed=0):
    torch.manual_seed(seed)
    x, x_val, y, y_val = map(torch.from_numpy, rows())
    model = Reader()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.05, total_iters=50)
    optimizer.register_step_post_hook(lambda *_: warm.step())
    return {
        "model": model,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optimizer,
        "train": DataLoader(TensorDataset(x, y), batch_size=48, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=600),
        "epochs": 12,
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


def peer():
    x, x_val, y, y_val = rows()
    return LogisticRegression(max_iter=1000).fit(counted(x), y).score(counted(x_val), y_val)
