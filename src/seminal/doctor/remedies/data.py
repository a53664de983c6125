"""Changes of what the program reads: which rows, in which order, after which preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, WeightedRandomSampler

from seminal.doctor.findings import Remedy
from seminal.doctor.program import Program, undisturbed
from seminal.doctor.rows import Altered, Rows, drawn_from, fingerprints, reloaded, rows_of
from seminal.doctor.rows import shuffled as draws_order

ALL = 10**9  # rows of a split, when none may be left out
SAME = 0.25  # standard deviations: columns that differ less have the same preprocessing


# ------------------------------------------------------------------------------------------------ which rows, what order


def _all_rows(loader: Any) -> Rows:
    """In the order of the data set, whatever the loader shuffles."""
    with undisturbed():
        return rows_of(loader, most=ALL)


def _dataset(loader: Any) -> Dataset[Any]:
    """What a loader reads from: its data set, or its rows where it has none."""
    if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
        return drawn_from(loader)
    rows = _all_rows(loader)
    return TensorDataset(rows.inputs, rows.targets)


def _loaded(loader: Any, dataset: Dataset[Any], *, shuffle: bool = False, sampler: Any = None) -> DataLoader[Any]:
    """A loader like the one given, of other rows or in another order."""
    own = loader if isinstance(loader, DataLoader) else None
    with undisturbed():
        size = own.batch_size if own is not None and own.batch_size else len(next(iter(loader))[0])
    return DataLoader(
        dataset,
        batch_size=size,
        shuffle=shuffle,
        sampler=sampler,
        collate_fn=own.collate_fn if own is not None else None,
        drop_last=own.drop_last if own is not None else False,
    )


def _kept(loader: Any, keep: Callable[[Rows], Tensor]) -> Any:
    """The loader with only the rows for which ``keep`` gives True."""
    return _subset(loader, keep(_all_rows(loader)))


def _subset(loader: Any, kept: Tensor) -> Any:
    if bool(kept.all()):
        return loader
    if isinstance(loader, Altered):
        return Altered(_subset(loader.loader, kept), loader.change)
    part = Subset(_dataset(loader), kept.nonzero().flatten().tolist())
    return _loaded(loader, part, shuffle=draws_order(loader))


def shuffled() -> Remedy:
    """Training rows in a new random order in every epoch."""

    def change(program: Program) -> Program:
        train = program.train
        if isinstance(train, Altered | DataLoader):
            return replace(program, train=reloaded(train, shuffle=True))
        return replace(program, train=_loaded(train, _dataset(train), shuffle=True))

    snippet = "train = DataLoader(dataset, batch_size=batch_size, shuffle=True)"
    return Remedy("shuffle", "shuffle the training rows in every epoch", snippet, change)


def balanced(rows: Rows) -> Remedy:
    """Every class is drawn equally often."""
    counts = torch.bincount(_classes(rows.targets))

    def change(program: Program) -> Program:
        classes = _classes(_all_rows(program.train).targets)
        weights = 1.0 / torch.bincount(classes).double()[classes]
        return replace(program, train=_drawn(program.train, weights))

    snippet = (
        f"counts = torch.tensor({counts.tolist()})\n"
        "sampler = torch.utils.data.WeightedRandomSampler(1 / counts[labels], len(labels))\n"
        "train = DataLoader(dataset, batch_size=batch_size, sampler=sampler)"
    )
    return Remedy("balanced classes", "draw rows of every class equally often", snippet, change)


def _drawn(loader: Any, weights: Tensor) -> Any:
    if isinstance(loader, Altered):
        return Altered(_drawn(loader.loader, weights), loader.change)
    sampler = WeightedRandomSampler(weights.tolist(), len(weights), replacement=True)
    return _loaded(loader, _dataset(loader), sampler=sampler)


def _classes(targets: Tensor) -> Tensor:
    """(N,) class numbers, from 0: of class targets in whichever form."""
    if targets.dim() > 1 and targets[0].numel() > 1:
        targets = targets.flatten(1).argmax(1)
    return torch.unique(targets.reshape(len(targets), -1)[:, 0], return_inverse=True)[1]


def cleaned(index: Sequence[int] | Tensor) -> Remedy:
    """The training rows with these numbers (in the order of the data set) are left out."""
    out = torch.as_tensor(index, dtype=torch.long).flatten()

    def change(program: Program) -> Program:
        def others(rows: Rows) -> Tensor:
            kept = torch.ones(len(rows), dtype=torch.bool)
            kept[out[out < len(rows)]] = False
            return kept

        return replace(program, train=_kept(program.train, others))

    snippet = (
        "keep = sorted(set(range(len(dataset))) - set(suspects))"
        f"    # {len(out)} suspects: {out[:8].tolist()}{' …' if len(out) > 8 else ''}\n"
        "train = DataLoader(torch.utils.data.Subset(dataset, keep), batch_size=batch_size, shuffle=True)"
    )
    return Remedy(
        f"without {len(out)} suspect rows", f"leave {len(out)} rows with doubtful labels out", snippet, change
    )


def without_duplicates() -> Remedy:
    """Training rows that validation has too are left out."""

    def change(program: Program) -> Program:
        seen = set(fingerprints(_all_rows(program.val).inputs))

        def new(rows: Rows) -> Tensor:
            return torch.tensor([mark not in seen for mark in fingerprints(rows.inputs)])

        return replace(program, train=_kept(program.train, new))

    snippet = (
        "rows = np.unique(rows, axis=0)    # before the split into training and validation rows\n"
        "train_rows, val_rows = split(rows)"
    )
    return Remedy("no repeated rows", "take the rows that validation has too out of training", snippet, change)


def finite_rows() -> Remedy:
    """Training rows with NaN or infinity are left out; in validation such a cell is read as the training mean."""

    def change(program: Program) -> Program:
        train = _kept(program.train, lambda rows: _finite(rows.inputs) & _finite(rows.targets))
        val = _kept(program.val, lambda rows: _finite(rows.targets))
        inputs = _all_rows(train).inputs
        if inputs.is_floating_point() and not bool(_finite(_all_rows(val).inputs).all()):
            mean = inputs.mean(0)
            val = Altered(val, lambda x, y: (torch.where(x.isfinite(), x, mean.to(x)), y))
        return replace(program, train=train, val=val)

    snippet = (
        "keep = torch.isfinite(inputs).flatten(1).all(1) & torch.isfinite(targets).flatten(1).all(1)\n"
        "inputs, targets = inputs[keep], targets[keep]"
    )
    return Remedy("finite rows", "leave out the rows that hold NaN or infinity", snippet, change)


def _finite(values: Tensor) -> Tensor:
    return values.isfinite().reshape(len(values), -1).all(1)


# --------------------------------------------------------------------------------------------------- what a row looks like


def standardised_inputs(rows: Rows) -> Remedy:
    """Every feature (or channel) with mean 0 and spread 1, by a fixed layer in front of the model."""
    inputs = rows.inputs
    if not inputs.is_floating_point():
        return Remedy("standardised inputs", "standardise the inputs", "", lambda program: program)
    over = {2: (0,), 4: (0, 2, 3)}.get(inputs.dim(), tuple(range(inputs.dim())))
    good = inputs.where(inputs.isfinite(), inputs.new_zeros(()))
    mean, std = good.mean(over, keepdim=True), good.std(over, keepdim=True)
    # A column that is always the same may stand in for a bias: it is brought to 1, not to 0.
    same = std <= 1e-6 * mean.abs()
    mean, std = torch.where(same, 0.0, mean), torch.where(same, mean.abs().clamp(min=1.0), std)

    def change(program: Program) -> Program:
        _in_front(program.model, lambda x: (x - mean.to(x)) / std.to(x))
        return program

    across = "0" if over == (0,) else str(over)
    snippet = (
        f"mean, std = train_inputs.mean({across}), train_inputs.std({across})    # {_numbers(mean)}, {_numbers(std)}\n"
        "train_inputs, val_inputs = (train_inputs - mean) / std, (val_inputs - mean) / std"
    )
    return Remedy(
        "standardised inputs", "standardise the inputs with the training rows' mean and spread", snippet, change
    )


def _in_front(model: nn.Module, layer: Callable[[Tensor], Tensor]) -> None:
    """Floating-point inputs go through ``layer`` first. A hook: what a training step reads of the model stays there."""

    def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if args and isinstance(args[0], Tensor) and args[0].is_floating_point():
            return (layer(args[0]), *args[1:])
        return args

    model.register_forward_pre_hook(before)


def _numbers(values: Tensor) -> str:
    flat = values.flatten().tolist()
    return f"{flat[0]:.4g}" if len(flat) == 1 else f"from {min(flat):.4g} to {max(flat):.4g}"


def without_column(column: int) -> Remedy:
    """One feature is held at its training mean, in training and in validation: the model cannot read it."""

    def change(program: Program) -> Program:
        mean = _all_rows(program.train).inputs.float().mean(0).flatten()[column]

        def hidden(x: Tensor) -> Tensor:
            flat = x.flatten(1).clone()
            flat[:, column] = mean.to(x)
            return flat.view_as(x)

        _in_front(program.model, hidden)
        return program

    snippet = f"inputs = np.delete(inputs, {column}, axis=1)    # and one input less in the first layer"
    return Remedy(f"without column {column}", f"take column {column} out of the inputs", snippet, change)


def relabelled(permutation: Sequence[int] | Tensor) -> Remedy:
    """Validation's class ``i`` is called ``permutation[i]``, as in training."""
    names = torch.as_tensor(permutation, dtype=torch.long)

    def rename(input: Any, target: Tensor) -> tuple[Any, Tensor]:
        return input, names.to(target.device)[target.long()].to(target.dtype)

    def change(program: Program) -> Program:
        return replace(program, val=Altered(program.val, rename))

    snippet = (
        f"names = torch.tensor({names.tolist()})\nval_labels = names[val_labels]    # or one listing for both parts"
    )
    return Remedy("one numbering of classes", "number the classes of validation as in training", snippet, change)


def rejoined(shift: int, *, validation: bool = True) -> Remedy:
    """Row ``i`` has the target that row ``i - shift`` was given; ``shift`` rows that then have none are left out.
    ``validation``: there too."""

    def moved(loader: Any) -> DataLoader[Any]:
        return _loaded(loader, _Rejoined(_dataset(loader), shift), shuffle=draws_order(loader))

    def change(program: Program) -> Program:
        return replace(program, train=moved(program.train), val=moved(program.val) if validation else program.val)

    head, tail = f"[:-{abs(shift)}]", f"[{abs(shift)}:]"
    inputs, targets = (tail, head) if shift > 0 else (head, tail)
    snippet = f"inputs, targets = inputs{inputs}, targets{targets}    # where the two are joined"
    if validation:
        says = f"move the targets by {shift:+d} rows, in training and validation"
        return Remedy(f"targets moved by {shift:+d} rows", says, snippet, change)
    says = f"move the targets by {shift:+d} rows, in training"
    return Remedy(f"training targets moved by {shift:+d} rows", says, snippet, change)


class _Rejoined(Dataset[Any]):
    """Rows of a data set with the targets of others, ``shift`` rows before."""

    def __init__(self, rows: Any, shift: int) -> None:
        self.rows, self.shift, self.first = rows, shift, max(shift, 0)

    def __len__(self) -> int:
        return max(0, len(self.rows) - abs(self.shift))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = index + self.first
        return self.rows[row][0], self.rows[row - self.shift][1]


def same_preprocessing(train: Rows, val: Rows) -> Remedy:
    """Validation inputs read as training inputs are: the simplest of a few usual differences (another scale, another offset,
    pictures on their side, mirrored, or with other channels first) that brings their mean to that of training."""
    name, read = _reading(train.inputs, val.inputs)

    def change(program: Program) -> Program:
        return replace(program, val=Altered(program.val, lambda x, y: (read(x), y)))

    snippet = f"val_inputs = preprocess(val_inputs)    # the same function as for training; here it is {name}"
    return Remedy("same preprocessing", f"prepare validation rows as training rows ({name})", snippet, change)


def _reading(train: Tensor, val: Tensor) -> tuple[str, Callable[[Tensor], Tensor]]:
    if not train.is_floating_point() or not val.is_floating_point() or train.shape[1:] != val.shape[1:]:
        return "nothing that can be guessed", lambda x: x
    turns: dict[str, Callable[[Tensor], Tensor]] = {"": lambda x: x}
    if train.dim() >= 3 and train.shape[-1] == train.shape[-2]:
        turns |= {
            "rows and columns exchanged, ": lambda x: x.transpose(-1, -2),
            "mirrored, ": lambda x: x.flip(-1),
            "upside down, ": lambda x: x.flip(-2),
        }
    if train.dim() == 4 and train.shape[1] == 3:
        turns["channels in reverse, "] = lambda x: x.flip(1)
    far = {name: _distance(train, _matched(train, turn(val), whole=True)(turn(val))) for name, turn in turns.items()}
    best = min(far, key=lambda name: far[name])
    best = best if far[best] < 0.5 * far[""] else ""  # turning is claimed only where it explains most of the difference
    turn = turns[best]
    whole = far[best] < SAME
    match = _matched(train, turn(val), whole=whole)
    scale = "one scale and offset for all" if whole else "a scale and an offset for each feature or channel"
    return f"{best}{scale}", lambda x: match(turn(x))


def _matched(train: Tensor, val: Tensor, *, whole: bool) -> Callable[[Tensor], Tensor]:
    """The map that gives validation the mean and spread of training, of all numbers or of each feature (channel)."""
    over = tuple(range(train.dim())) if whole or train.dim() not in (2, 4) else (0,) if train.dim() == 2 else (0, 2, 3)
    mean, std = train.mean(over, keepdim=True), train.std(over, keepdim=True)
    own_mean, own_std = val.mean(over, keepdim=True), val.std(over, keepdim=True)
    scale = torch.where((own_std > 1e-8) & (std > 1e-8), std / own_std.clamp(min=1e-12), torch.ones_like(std))
    # A spread that differs by a few per cent is chance; dividing by it would only add noise.
    scale = torch.where((scale > 0.8) & (scale < 1.25), torch.ones_like(scale), scale)
    return lambda x: (x - own_mean.to(x)) * scale.to(x) + mean.to(x)


def _distance(train: Tensor, val: Tensor) -> float:
    """Between the mean rows, in standard deviations of training: the mean over all features."""
    spread = train.flatten(1).std(0)
    used = spread > 1e-3 * float(train.std())
    gap = (train.flatten(1).mean(0) - val.flatten(1).mean(0)).abs()
    return float((gap[used] / spread[used]).mean()) if bool(used.any()) else 0.0


def default_validation() -> Remedy:
    """The plain validation pass."""
    snippet = "model.eval()\nwith torch.no_grad():\n    score = metric(model(val_inputs), val_targets)"
    return Remedy(
        "plain validation",
        "validate in the plain way: eval(), no gradients, all rows at once",
        snippet,
        lambda program: replace(program, evaluate=None),
    )
