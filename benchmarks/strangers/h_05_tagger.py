"""Sequence tagging with an LSTM: the tag of a token depends on the token and the one before it."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VOCAB, TAGS, T = 10, 4, 12


class Tagger(nn.Module):
    def __init__(self, emb=16, hid=32):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, emb)
        self.lstm = nn.LSTM(emb, hid, batch_first=True)
        self.fc = nn.Linear(hid, TAGS)

    def forward(self, tokens):
        hidden, _ = self.lstm(self.emb(tokens))
        return self.fc(hidden)  # (batch, time, tags)


class TagLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.ce = nn.CrossEntropyLoss()

    def forward(self, scores, tags):
        b, t, c = scores.shape
        return self.ce(scores.reshape(b, c, t), tags)


def tag_accuracy(scores, tags):
    return (scores.argmax(dim=-1) == tags).float().mean().item()


def corpus(n):
    x = torch.randint(0, VOCAB, (n, T))
    prev = torch.cat([torch.zeros(n, 1, dtype=torch.long), x[:, :-1]], 1)
    return x, (x + prev) % TAGS


def make(seed=0):
    torch.manual_seed(seed)
    model = Tagger()
    tr, va = TensorDataset(*corpus(1500)), TensorDataset(*corpus(400))
    return dict(
        model=model,
        loss=TagLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        train=DataLoader(tr, batch_size=32, shuffle=True),
        val=DataLoader(va, batch_size=100),
        epochs=10,
        metric=tag_accuracy,
        train_step=None,
        evaluate=None,
    )
