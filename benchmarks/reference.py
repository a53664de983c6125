"""The loop that people write today, in the manner of torchvision's reference scripts for classification: `ImageFolder`,
transforms on PIL pictures, a `DataLoader` with worker processes, fp32, contiguous, eager.

It learns the same as `seminal train`: same network and first weights, same loss, optimiser and learning rate at each
step, crops and flips of the same distribution, validation on the same files. What differs is how that is computed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from torchvision import transforms
from torchvision.datasets import ImageFolder

from seminal.core import Recipe, Source
from seminal.data.image_encoder import ImageEncoder
from seminal.pieces.augment import HorizontalFlip
from seminal.pieces.crops import RandomCrop, ResizedCrop

WORKERS = 2


@dataclass(frozen=True)
class Epoch:
    """What an epoch of the reference loop gave."""

    number: int  # counted from 1
    train_loss: float
    top1: float  # on the validation split
    seconds: float  # spent in training so far; validation is not counted


class Reference:
    """The reference loop for a model and a recipe of seminal.

    Args:
        model: moved in place.
        recipe: gives batch, epochs, rates, optimiser, crop and flip.
        source: gives the colour statistics, and the sizes; no picture is read through it.
        data: the folder with ``train/<class>`` and ``val/<class>`` (or ``test``).
        device: where the model computes.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        source: Source,
        *,
        data: Path,
        device: torch.device,
        workers: int = WORKERS,
    ) -> None:
        self.model, self.recipe, self.device, self.workers = model.to(device), recipe, device, workers
        encoder = source.encoder(recipe.scaling)
        assert isinstance(encoder, ImageEncoder)
        self.train_set = ImageFolder(str(data / "train"), _training(recipe, encoder))
        held_out = next(data / name for name in ("val", "valid", "validation", "test") if (data / name).is_dir())
        self.val_set = ImageFolder(str(held_out), _validation(encoder))
        self.criterion = nn.CrossEntropyLoss(label_smoothing=recipe.task.label_smoothing)
        self.optimizer = _sgd(model, recipe)
        self.steps_per_epoch = len(self.train_set) // recipe.batch
        self.steps = recipe.epochs * self.steps_per_epoch
        self.step = 0

    def epochs(self) -> Iterator[Epoch]:
        """Train to the end; one `Epoch` after each validation."""
        seconds = 0.0
        loader = self._loader(shuffle=True)
        for number in range(1, self.recipe.epochs + 1):
            started = time.perf_counter()
            losses = [self._train_step(*batch)[0] for batch in loader]
            seconds += time.perf_counter() - started
            yield Epoch(number, sum(losses) / len(losses), self.evaluate(), seconds)

    def timed(self, warm: int, count: int) -> float:
        """Seconds of ``count`` steps in the steady state: worker processes are started and ``warm`` steps made before the
        clock runs, and there is always another epoch for the workers to prepare."""
        batches = iter(self._loader(sampler=Endless(len(self.train_set))))
        for _ in range(warm):
            self._train_step(*next(batches))
        self._wait()
        started = time.perf_counter()
        for _ in range(count):
            self._train_step(*next(batches))
        self._wait()
        return time.perf_counter() - started

    @torch.inference_mode()
    def evaluate(self) -> float:
        """Top-1 accuracy on the validation split."""
        self.model.eval()
        right = 0
        for pictures, targets in DataLoader(self.val_set, self.recipe.batch, num_workers=self.workers):
            logits = self.model(pictures.to(self.device))
            right += int((logits.argmax(1) == targets.to(self.device)).sum())
        return right / len(self.val_set)

    def _loader(
        self, *, shuffle: bool = False, sampler: Sampler[int] | None = None
    ) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(
            self.train_set,
            batch_size=self.recipe.batch,
            shuffle=shuffle or None,
            sampler=sampler,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            drop_last=True,
        )

    def _train_step(self, pictures: Tensor, targets: Tensor) -> tuple[float, float]:
        """One step; (loss, share of right answers) are read back, as the reference scripts do for their log."""
        self.model.train()
        pictures = pictures.to(self.device, non_blocking=True)
        targets = targets.to(self.device, non_blocking=True)
        lr = self.recipe.lr * self.recipe.schedule(self.step, self.steps, ())
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        logits = self.model(pictures)
        loss = self.criterion(logits, targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        with torch.inference_mode():
            right = (logits.argmax(1) == targets).float().mean()
        return float(loss.detach()), float(right)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class Endless(Sampler[int]):
    """One shuffled epoch after the other, without a pause between them."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(self.rows).tolist()


def _training(recipe: Recipe, encoder: ImageEncoder) -> transforms.Compose:
    """The recipe's crop and flip, as torchvision does them."""
    crop = recipe.augment[0]
    if isinstance(crop, RandomCrop):
        first: nn.Module = transforms.RandomCrop(encoder.size, padding=crop.padding)
    else:
        assert isinstance(crop, ResizedCrop)
        first = transforms.RandomResizedCrop(encoder.size, scale=crop.scale, ratio=crop.ratio)
    flips = [
        transforms.RandomHorizontalFlip(flip.probability) for flip in recipe.augment if isinstance(flip, HorizontalFlip)
    ]
    return transforms.Compose([first, *flips, *_numbers(encoder)])


def _validation(encoder: ImageEncoder) -> transforms.Compose:
    resized = [transforms.Resize(encoder.side)] * (encoder.side != encoder.size)
    return transforms.Compose([*resized, transforms.CenterCrop(encoder.size), *_numbers(encoder)])


def _numbers(encoder: ImageEncoder) -> list[object]:
    assert encoder.scaling == "standard"
    return [transforms.ToTensor(), transforms.Normalize(encoder.mean, encoder.std)]


def _sgd(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    optim = recipe.optim
    assert optim.name == "sgd"
    spared = [p for p in model.parameters() if p.dim() <= 1 and not optim.decay_all]
    decayed = [p for p in model.parameters() if p.dim() > 1 or optim.decay_all]
    groups = [{"params": decayed, "weight_decay": optim.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=optim.momentum, nesterov=optim.nesterov)
