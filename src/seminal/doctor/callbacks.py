"""The same watch inside the loops of others: a callback for Hugging Face's Trainer and one for Lightning.

Neither library is needed to import this file. Each callback watches from the first step to the last and prints the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from seminal.core import UserError
from seminal.doctor.hooks import Hook
from seminal.doctor.watching import Patient, watch

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from transformers import TrainerCallback


class Ward:
    """A patient whose loop belongs to somebody else: it is told when training begins and ends."""

    def __init__(self, say: Callable[[str], None], budget: float, stop_on_nonfinite: bool) -> None:
        self.say, self.budget, self.stop_on_nonfinite = say, budget, stop_on_nonfinite
        self.patient: Patient | None = None
        self._stack = ExitStack()
        self._heard = False  # whether the model tells its own loss

    def admit(self, model: nn.Module, optimizers: Optimizer | Sequence[Optimizer]) -> None:
        """Training begins."""
        self._stack.close()  # an earlier training may have ended by an exception
        watched = watch(model, optimizers, budget=self.budget, stop_on_nonfinite=self.stop_on_nonfinite)
        self.patient = self._stack.enter_context(watched)

    def hear(self, model: nn.Module) -> None:
        """Take the losses from the model's own outputs, where it gives them there."""

        def told(module: nn.Module, args: Any, output: Any) -> None:
            loss = output.get("loss") if isinstance(output, dict) else None
            if self.patient is not None and isinstance(loss, Tensor) and loss.requires_grad:
                self._heard = True
                self.patient.loss(loss)

        self._stack.callback(model.register_forward_hook(Hook(told)).remove)

    def logged(self, logs: Any) -> None:
        """A loss that was only logged, for a model that does not give it."""
        if self.patient is not None and logs and "loss" in logs and not self._heard:
            self.patient.loss(float(logs["loss"]))

    def told(self, outputs: Any) -> None:
        """A step is over."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if self.patient is not None and isinstance(loss, Tensor):
            self.patient.loss(loss)

    def discharge(self, speaks: bool) -> None:
        """Training is over."""
        self._stack.close()
        if self.patient is not None and speaks:
            self.say(str(self.patient.verdict()))


def for_trainer(
    *, say: Callable[[str], None] = print, budget: float = 0.01, stop_on_nonfinite: bool = True
) -> TrainerCallback:
    """For Hugging Face's Trainer: ``trainer.add_callback(doctor.for_trainer())``.

    ``say`` gets the verdict at the end; the rest is as in `watch`. Raises `UserError` where transformers is missing.
    """
    try:
        from transformers import TrainerCallback
    except ImportError:
        raise UserError("for_trainer() is for Hugging Face's Trainer: `pip install transformers accelerate`.") from None
    ward = Ward(say, budget, stop_on_nonfinite)

    def begins(model: nn.Module, optimizer: Optimizer) -> None:
        ward.admit(model, optimizer)
        ward.hear(model)

    # The Trainer gives each event everything it has, by name, and more with every release.
    events = {
        "on_train_begin": lambda self, *_, **given: begins(given["model"], given["optimizer"]),
        "on_log": lambda self, *_, **given: ward.logged(given.get("logs")),
        "on_train_end": lambda self, args, state, *_, **given: ward.discharge(state.is_world_process_zero),
    }
    callback: TrainerCallback = type("Watching", (TrainerCallback,), {**events, "ward": ward})()
    return callback


def for_lightning(
    *, say: Callable[[str], None] = print, budget: float = 0.01, stop_on_nonfinite: bool = True
) -> Callback:
    """For Lightning: ``Trainer(callbacks=[doctor.for_lightning()])``.

    ``say`` gets the verdict at the end; the rest is as in `watch`. Raises `UserError` where Lightning is missing.
    """
    try:
        from lightning.pytorch import Callback
    except ImportError:
        raise UserError("for_lightning() is for Lightning's Trainer: `pip install lightning`.") from None

    class Watching(Callback):  # type: ignore[misc, unused-ignore]
        ward = Ward(say, budget, stop_on_nonfinite)

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.ward.admit(pl_module, trainer.optimizers)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.ward.told(outputs)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            self.ward.discharge(trainer.is_global_zero)

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            self.ward.discharge(trainer.is_global_zero)

    return Watching()
