"""The training loop, as a generator: it takes one step, tells about it, and waits.

Logging, evaluation, checkpoints and early stopping are the caller's plain ``for``, ``if`` and ``break``::

    for step in train(model, source, recipe):
        print(step.number, step.loss["model"], step.lr)
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from seminal.core import Batch, Order, Precision, Recipe, Source, Step, Turn
from seminal.train import distributed, transfer
from seminal.train.nonfinite import NonFiniteError, explain
from seminal.train.precision import arithmetic, in_layout, laid_out
from seminal.train.state import State


def train(model: nn.Module, source: Source, recipe: Recipe, state: State | None = None) -> Iterator[Step]:
    """Train ``model`` in place and yield after every step, until the recipe's last.

    With a ``state`` that was saved between two steps, training goes on from there and gives the same weights to the bit.
    Raises `NonFiniteError` before a step whose loss or gradient is not finite; the weights of the player that would have
    moved are then the last good ones. (Of several players, those whose turn it was before have moved.)
    """
    precision = recipe.precision or Precision()
    laid_out(model, precision)
    state = state or State.fresh(model, recipe)
    players = recipe.task.players(model)
    view = distributed.parallel(model, len(players), compiled=precision.compile)
    device = next(model.parameters()).device
    steps = total_steps(source, recipe)
    order = Order("train", recipe.batch, recipe.seed, shuffle=True, augment=recipe.augment, scaling=recipe.scaling)
    order = replace(order, rank=distributed.rank(), world=distributed.world())
    while state.step < steps:
        if state.position >= source.steps(replace(order, epoch=state.epoch)):
            state.epoch, state.position = state.epoch + 1, 0
        order = replace(order, epoch=state.epoch, start=state.position)
        epoch_steps = min(source.steps(order), state.position + steps - state.step)
        if not state.position:
            state.carry = {}  # a stream is read from its beginning
        for batch in source.batches(order):
            progress = torch.full_like(batch["index"], state.step / steps, dtype=torch.float32)
            batch = batch | state.carry | {"progress": progress}
            rows, fewest = distributed.counted(len(batch["index"]), device)
            parts = recipe.accumulate if fewest >= recipe.accumulate else 1  # the same on every rank
            lr = recipe.lr * recipe.schedule(state.step, steps, tuple(state.scores))
            with _own_randomness(recipe.seed, state.step, device):
                whole = in_layout(batch, device, precision)
                turns = _move(view, state, recipe, _micro_batches(whole, parts), lr)
            state.step, state.position = state.step + 1, state.position + 1
            if state.position == source.steps(order) and state.epoch >= recipe.epochs - recipe.average:
                state.add_to_average()
            yield Step(
                number=state.step,
                steps=steps,
                epoch=state.epoch,
                position=state.position,
                epoch_steps=epoch_steps,
                loss={player: moved.loss for player, moved in turns.items()},
                lr=lr,
                grad_norm={player: moved.norm for player, moved in turns.items()},
                rows=rows,
                weight=next(iter(turns.values())).weight,
            )
            if state.step >= steps:
                return


def total_steps(source: Source, recipe: Recipe) -> int:
    """Steps of the whole run."""
    if recipe.steps is not None:
        return recipe.steps
    order = Order("train", recipe.batch, recipe.seed, shuffle=True)
    return sum(source.steps(replace(order, epoch=epoch)) for epoch in range(recipe.epochs))


@dataclass(frozen=True)
class _Moved:
    """A player's step, or its steps on one batch: mean loss, gradient norm before clipping, what the loss is a mean over."""

    loss: float
    norm: float
    weight: float

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.norm)


def _move(model: nn.Module, state: State, recipe: Recipe, parts: list[Batch], lr: float) -> dict[str, _Moved]:
    """One step on the micro-batches of one batch: the players move in the order of the task's turns. ``model`` computes;
    ``state`` is moved."""
    for network in (model,) if model is state.model else (state.model, model):
        network.train()
        transfer.keep_still(network, recipe.transfer)
    before = [b.clone() for b in state.model.buffers()]
    precision = recipe.precision or Precision()
    lanes = [recipe.task.turns(model, part) for part in parts]
    moves: dict[str, list[_Moved]] = {player: [] for player in state.optimisers}
    carries: list[Mapping[str, Tensor]] = []
    while turns := _next_turns(model, state.model, lanes, precision):
        player = turns[0].player
        moved = _step(state.optimisers[player], turns, lr, recipe.clip)
        if not moved.finite:
            for buffer, value in zip(state.model.buffers(), before):
                buffer.copy_(value)
            cause, rows = _explain(state.model, recipe, parts, precision)
            for buffer, value in zip(state.model.buffers(), before):
                buffer.copy_(value)
            raise NonFiniteError(
                state.step + 1, f"the {player}'s loss is {moved.loss:.6g}, its gradient {moved.norm:.6g}: {cause}", rows
            )
        moves[player].append(moved)
        carries += [turn.carry for turn in turns if turn.carry]
    state.carry = {name: torch.cat([c[name].detach() for c in carries]) for name in (carries[0] if carries else ())}
    if state.ema:
        _follow(state.ema, state.model.state_dict(), min(recipe.ema, (1 + state.step) / (10 + state.step)))
    return {player: _together(made) for player, made in moves.items() if made}


def _next_turns(model: nn.Module, whole: nn.Module, lanes: list[Iterator[Turn]], precision: Precision) -> list[Turn]:
    """One player's turn on every micro-batch, its gradients added up in ``whole``; empty when all have moved. A player may
    have several turns on one batch: the task says whose turn it is."""
    whole.zero_grad(set_to_none=True)  # also what another player's loss has left behind
    device = next(whole.parameters()).device
    turns: list[Turn] = []
    for lane in lanes:
        with contextlib.nullcontext() if lane is lanes[-1] else _without_exchange(model):
            with arithmetic(precision, device):
                turn = next(lane, None)
            if turn is None:
                return []
            turn.loss.backward()
        turns.append(replace(turn, loss=turn.loss.detach(), weight=turn.weight.detach()))
    assert len({turn.player for turn in turns}) == 1, "the turns of all micro-batches go in one order"
    return turns


def _together(moves: list[_Moved]) -> _Moved:
    """A player's moves on one batch as one: means over what they counted."""
    weights = [moved.weight for moved in moves]
    if not any(weights):
        return moves[-1]
    loss, norm = (fmean(values, weights) for values in zip(*((moved.loss, moved.norm) for moved in moves)))
    return _Moved(loss, norm, sum(weights))


def _step(optimiser: Optimizer, turns: list[Turn], lr: float, clip: float | None) -> _Moved:
    """Divide the summed gradients once by the total weight, clip, step; no step where they are not finite."""
    loss = torch.stack([turn.loss for turn in turns]).sum().double()
    weight = torch.stack([turn.weight for turn in turns]).sum().double()
    loss, weight = distributed.added(loss, weight)
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    # Read together: each reading waits for the device.
    total, count, length = torch.stack([loss, weight, get_total_norm(gradients).to(loss)]).tolist()
    if not count:  # no row of the batch has anything to learn from
        return _Moved(0.0, 0.0, 0.0)
    # Over several ranks the gradients were averaged, not summed.
    share = distributed.world() / count
    moved = _Moved(total / count, length * share, count)
    if not moved.finite:
        return moved
    if clip is not None and moved.norm > clip:
        share *= clip / moved.norm
    torch._foreach_mul_(gradients, share)
    for group in optimiser.param_groups:
        group["lr"] = lr * group["rate"]
    optimiser.step()
    return moved


def _micro_batches(batch: Batch, parts: int) -> list[Batch]:
    """Exactly so many: with statistics over all ranks, every forward pass of one waits for the others'."""
    split = {name: values.tensor_split(parts) for name, values in batch.items()}
    return [{name: some[i] for name, some in split.items()} for i in range(parts)]


@contextlib.contextmanager
def _own_randomness(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Dropout and its like draw from a stream that belongs to this step, and the caller's stream is left untouched."""
    devices = [device] if device.type == "cuda" else []
    own = ((seed * 1_000_003 + step) * 1_009 + distributed.rank()) % 2**63
    with torch.random.fork_rng(devices=devices):
        # Not torch.manual_seed: it also keeps a note, with a stack trace, for every kind of device that is not in use.
        torch.default_generator.manual_seed(own)
        if devices:
            torch.cuda.manual_seed(own)
        yield


@contextlib.contextmanager
def _without_exchange(model: nn.Module) -> Iterator[None]:
    """Gradients of all micro-batches but the last stay on this rank."""
    with contextlib.ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, nn.parallel.DistributedDataParallel):
                stack.enter_context(module.no_sync())
        yield


def _follow(ema: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
    """The moving average takes a small step towards the weights; counters are copied."""
    floats = [name for name, value in ema.items() if value.is_floating_point()]
    torch._foreach_lerp_([ema[n] for n in floats], [weights[n].detach() for n in floats], 1 - decay)
    for name in ema.keys() - set(floats):
        ema[name].copy_(weights[name])


def _explain(model: nn.Module, recipe: Recipe, parts: list[Batch], precision: Precision) -> tuple[str, list[int]]:
    for part in parts:
        with arithmetic(precision, part["index"].device):
            cause, rows = explain(model, recipe.task, part)
        if not cause.startswith("computed once more"):
            break
    return cause, rows
