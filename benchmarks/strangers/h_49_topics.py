"""Topic of a short message: bag of word embeddings (mean) and a linear layer."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Bag(nn.Module):
    def __init__(self, vocab=300, d=24, topics=6):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocab, d, mode="mean")
        self.fc = nn.Linear(d, topics)

    def forward(self, words):
        return self.fc(self.bag(words))


def messages(n, g):
    y = torch.randint(0, 6, (n,), generator=g)
    own = torch.randint(0, 50, (n, 14), generator=g) + 50 * y[:, None]
    common = torch.randint(0, 300, (n, 14), generator=g)
    return torch.where(torch.rand(n, 14, generator=g) < 0.5, own, common), y


def make(seed=0):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(100)
    model = Bag()
    return dict(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        train=DataLoader(TensorDataset(*messages(3000, g)), batch_size=64, shuffle=True),
        val=DataLoader(TensorDataset(*messages(600, g)), batch_size=600),
        epochs=6,
        metric=lambda o, t: (o.argmax(1) == t).float().mean().item(),
        train_step=None,
        evaluate=None,
    )
