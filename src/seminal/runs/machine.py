"""The machine a run is on: its device, its processes, its versions."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

import torch
import torch.distributed as dist

import seminal
from seminal.core import UserError


def device_for(asked: str | None) -> torch.device:
    """The device asked for, or a GPU where there is one. Under ``torchrun`` each process has its own."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if asked is None:
        return torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if asked.partition(":")[0] == "mps":
        raise UserError(
            "the device `mps` has no 64-bit numbers, in which losses and metrics are added up here. Write --device cpu."
        )
    try:
        device = torch.device(asked)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError):
        there = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise UserError(f"the device `{asked}` is not to be had here. There is: {', '.join(there)}.") from None
    return device


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Joined with the other processes ``torchrun`` has started, if it has."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # where NCCL puts what it is not told to
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def keep_memory() -> None:
    """Memory that was freed stays with the process, for the next step to take.

    Else glibc gives every large tensor back to the system and asks for it again, cleared page by page: a tenth of the
    time of a step of a language model, as measured. Other C libraries have no such switch."""
    never_map, never_trim = (-4, 0), (-1, 2**31 - 1)  # M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h
    if sys.platform != "linux":
        return
    with contextlib.suppress(AttributeError):
        for name, value in (never_map, never_trim):
            ctypes.CDLL(None).mallopt(name, value)


class Stop:
    """Ctrl-C or a job's end, noticed between two steps, when everything can be saved. A second one ends at once; what
    comes within a second of the first is the same one, told by both the terminal and ``torchrun``."""

    def __init__(self) -> None:
        self.asked = False
        self._since = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not the main thread: signals are somebody else's
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and time.monotonic() - self._since > 1:
            raise KeyboardInterrupt
        self._since = self._since if self.asked else time.monotonic()
        self.asked = True


def environment(device: torch.device) -> dict[str, str]:
    """What a number measured here depends on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "seminal": seminal.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": f"{device.type}: {name}",
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def command_line() -> str:
    """The command that was typed."""
    return shlex.join(["seminal", *sys.argv[1:]])
