"""Ratings as the product of a user vector and an item vector, with biases."""

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

N_USERS, N_ITEMS = 120, 90


def ratings():
    g = torch.Generator().manual_seed(77)
    u, v = torch.randn(N_USERS, 6, generator=g), torch.randn(N_ITEMS, 6, generator=g)
    r = u @ v.T / 6**0.5 + 0.2 * torch.randn(N_USERS, N_ITEMS, generator=g)
    pairs = torch.cartesian_prod(torch.arange(N_USERS), torch.arange(N_ITEMS))
    order = torch.randperm(len(pairs), generator=g)
    return pairs[order], r.flatten()[order]


class MF(nn.Module):
    def __init__(self, factors=1):
        super().__init__()
        self.user = nn.Embedding(N_USERS, factors)
        self.item = nn.Embedding(N_ITEMS, factors)
        self.user_bias = nn.Embedding(N_USERS, 1)
        self.item_bias = nn.Embedding(N_ITEMS, 1)
        for e in (self.user, self.item):
            nn.init.normal_(e.weight, std=0.3)
        for e in (self.user_bias, self.item_bias):
            nn.init.zeros_(e.weight)

    def forward(self, ids):
        u, i = ids[:, 0], ids[:, 1]
        dot = (self.user(u) * self.item(i)).sum(1)
        return dot + self.user_bias(u).squeeze(1) + self.item_bias(i).squeeze(1)


def make(seed=0):
    torch.manual_seed(seed)
    ids, r = ratings()
    cut = int(0.75 * len(ids))
    model = MF()
    return dict(
        model=model,
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.02),
        train=DataLoader(TensorDataset(ids[:cut], r[:cut]), batch_size=128, shuffle=True),
        val=DataLoader(TensorDataset(ids[cut:], r[cut:]), batch_size=3000),
        epochs=15,
        metric=lambda p, y: (1 - ((p - y) ** 2).mean() / y.var()).item(),
        train_step=None,
        evaluate=None,
    )
