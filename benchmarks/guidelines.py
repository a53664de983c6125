"""The four guidelines of ShuffleNet V2 (Ma et al. 2018, Sec. 2) on this machine, with the settings of its Tables 1 to 4.

    G1 equal widths are best      G2 groups cost      G3 fragments cost      G4 element-wise operations cost

Each row of a table is a stack of ten blocks. All rows of a column have about the same multiply-adds (G4: fewer operations
besides the convolutions), and take turns (A B C D A B C D …), so that a busy moment of the machine meets all of them;
speeds are relative to the first row of the same round. Inference in fp32, a map of 56 × 56.

    python benchmarks/guidelines.py                 the channels of the paper's ARM columns, one picture at a time
    python benchmarks/guidelines.py --device cuda   those of its GPU columns, 8 pictures at a time

The paper leaves four things open. Blocks have no biases and, in G1 to G3, no ReLU; parallel fragments are added up; the
bottleneck of G4 has a quarter of the unit's channels, as in ResNet, and its normalisations are folded away. PyTorch runs
one operation after the other, where the paper's libraries fuse small ones.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from measuring import arguments, machine, spread, write
from seminal.papers.shufflenet_v2 import memory_access
from seminal.pieces.measure import multiply_adds
from seminal.report.terminal import table
from seminal.runs.machine import device_for

SIDE = 56  # Tables 1 to 3; Table 4 does not say
DEPTH = 10  # blocks
TURN = 0.02  # seconds on the clock per row and round, at least


class Parallel(nn.Module):
    """Branches that read the same map and are added up."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.branches
        y: Tensor = first(x)
        for branch in others:
            y = y + branch(x)
        return y


class Bottleneck(nn.Module):
    """ResNet's unit: 1 × 1, 3 × 3, 1 × 1, with ReLU and shortcut or without."""

    def __init__(self, channels: int, *, relu: bool, shortcut: bool) -> None:
        super().__init__()
        narrow = channels // 4
        self.conv1 = pointwise(channels, narrow)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, padding=1, bias=False)
        self.conv3 = pointwise(narrow, channels)
        self.relu = nn.ReLU() if relu else nn.Identity()
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv3(self.relu(self.conv2(self.relu(self.conv1(x)))))
        out: Tensor = self.relu(y + x if self.shortcut else y)
        return out


def pointwise(inputs: int, outputs: int, groups: int = 1) -> nn.Conv2d:
    """A 1 × 1 convolution."""
    return nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False)


def stack(block: Callable[[], nn.Module]) -> nn.Sequential:
    """``DEPTH`` blocks of one kind."""
    return nn.Sequential(*(block() for _ in range(DEPTH)))


@dataclass(frozen=True)
class Row:
    """A setting: its block for a factor on the channels, and the speeds the paper prints, one per column."""

    name: str
    channels: dict[str, int]  # of the block's input in the first column, by platform
    block: Callable[[int], nn.Module]  # from the input's channels
    gpu: tuple[str, ...]  # as printed, for the digits
    arm: tuple[str, ...]


@dataclass(frozen=True)
class Guideline:
    name: str
    says: str
    where: str
    rows: tuple[Row, ...]  # the first is the one the others are compared with
    factors: tuple[int, ...] = (1, 2, 4)  # on the channels, one per column


def _ratio(ratio: int, arm: tuple[int, int], gpu: tuple[int, int], speeds: tuple[str, str]) -> Row:
    """c1 -> c2 -> c1, and both times the factor (Table 1)."""
    wide = {gpu[0] * factor: gpu[1] * factor for factor in (1, 2, 4)}
    wide |= {arm[0] * factor: arm[1] * factor for factor in (1, 2, 4)}

    def block(c1: int) -> nn.Module:
        return nn.Sequential(pointwise(c1, wide[c1]), pointwise(wide[c1], c1))

    return Row(f"c1 : c2 = 1 : {ratio}", {"cuda": gpu[0], "cpu": arm[0]}, block, *_printed(speeds))


def _grouped(groups: int, arm: int, gpu: int, speeds: tuple[str, str]) -> Row:
    """One layer in groups (Table 2)."""
    return Row(f"g = {groups}", {"cuda": gpu, "cpu": arm}, lambda c: pointwise(c, c, groups), *_printed(speeds))


def _fragments(count: int, kind: str, speeds: tuple[str, str]) -> Row:
    """``count`` layers in series or in parallel, so narrow that they do the work of one (Table 3)."""

    def narrow(channels: int) -> int:
        return round(channels / math.sqrt(count))

    def block(c: int) -> nn.Module:
        parts = [pointwise(c, c) for _ in range(count)]
        return parts[0] if count == 1 else nn.Sequential(*parts) if kind == "series" else Parallel(parts)

    name = "1 fragment" if count == 1 else f"{count} fragments in {kind}"
    return Row(name, {"cuda": narrow(128), "cpu": narrow(64)}, block, *_printed(speeds))


def _elementwise(relu: bool, shortcut: bool, speeds: tuple[str, str]) -> Row:
    """The bottleneck unit (Table 4)."""
    name = f"ReLU {'yes' if relu else 'no'}, shortcut {'yes' if shortcut else 'no'}"
    return Row(name, {"cuda": 32, "cpu": 32}, lambda c: Bottleneck(c, relu=relu, shortcut=shortcut), *_printed(speeds))


def _printed(speeds: tuple[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns for GPU and for ARM."""
    gpu, arm = speeds
    return tuple(gpu.split()), tuple(arm.split())


GUIDELINES = (
    Guideline(
        "G1",
        "equal channel width minimises memory access",
        "Table 1",
        (
            _ratio(1, (32, 32), (128, 128), ("1480 723 232", "76.2 21.7 5.3")),
            _ratio(2, (22, 44), (90, 180), ("1296 586 206", "72.9 20.5 5.1")),
            _ratio(6, (13, 78), (52, 312), ("876 489 189", "69.1 17.9 4.6")),
            _ratio(12, (9, 108), (36, 432), ("748 392 163", "57.6 15.1 4.4")),
        ),
    ),
    Guideline(
        "G2",
        "many groups increase memory access",
        "Table 2",
        (
            _grouped(1, 64, 128, ("2451 1289 437", "40.0 10.2 2.3")),
            _grouped(2, 90, 180, ("1725 873 341", "35.0 9.5 2.2")),
            _grouped(4, 128, 256, ("1026 644 338", "32.9 8.7 2.1")),
            # 184 channels: the printed 180 cannot be divided by 8.
            _grouped(8, 184, 360, ("634 445 230", "27.8 7.5 1.8")),
        ),
    ),
    Guideline(
        "G3",
        "fragments reduce parallelism",
        "Table 3",
        (
            _fragments(1, "series", ("2446 1274 434", "40.2 10.1 2.3")),
            _fragments(2, "series", ("1790 909 336", "38.6 10.1 2.2")),
            _fragments(4, "series", ("752 745 349", "38.4 10.1 2.3")),
            _fragments(2, "parallel", ("1537 803 320", "33.4 9.1 2.2")),
            _fragments(4, "parallel", ("691 572 292", "35.0 8.4 2.1")),
        ),
    ),
    Guideline(
        "G4",
        "element-wise operations are not negligible",
        "Table 4",
        (
            _elementwise(True, True, ("2427 2066 1436", "56.7 16.9 5.0")),
            _elementwise(True, False, ("2647 2256 1735", "61.9 18.8 5.2")),
            _elementwise(False, True, ("2672 2121 1458", "57.3 18.2 5.1")),
            _elementwise(False, False, ("2842 2376 1782", "66.3 20.2 5.4")),
        ),
    ),
)


# ---------------------------------------------------------------------------------------------------------- measuring


class Timed:
    """A stack of blocks with its input, and how often it runs per turn."""

    def __init__(self, row: Row, factor: int, batch: int, device: torch.device) -> None:
        channels = row.channels[device.type] * factor
        self.model = stack(lambda: row.block(channels)).to(device).eval()
        self.input = torch.randn(batch, channels, SIDE, SIDE, device=device)
        self.device, self.repeats = device, 1
        self.seconds()  # builds the kernels
        self.repeats = max(1, round(TURN / self.seconds()))

    def seconds(self) -> float:
        """Of one pass, over ``repeats`` of them."""
        _wait(self.device)
        started = time.perf_counter()
        for _ in range(self.repeats):
            self.model(self.input)
        _wait(self.device)
        return (time.perf_counter() - started) / self.repeats

    @property
    def multiply_adds(self) -> int:
        return multiply_adds(self.model, self.input[:1])

    @property
    def accesses(self) -> int:
        """Numbers that the 1 × 1 convolutions read and write for one picture, by Eq. 2."""
        layers = [m for m in self.model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
        return sum(
            memory_access(m.in_channels, m.out_channels, height=SIDE, width=SIDE, groups=m.groups) for m in layers
        )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def relative(row: str, first: str) -> tuple[float, float, float]:
    """The ratio of two printed speeds, and the least and the most it can be, since both are rounded."""
    halves = [0.5 * 10 ** -len(number.partition(".")[2]) for number in (row, first)]
    a, b = float(row), float(first)
    return a / b, (a - halves[0]) / (b + halves[1]), (a + halves[0]) / (b - halves[1])


def direction(low: float, high: float) -> str:
    """What a range of relative speeds says."""
    return "slower" if high < 1 else "faster" if low > 1 else "same"


def agreement(here: str, paper: str) -> str:
    """Whether two directions agree; "unclear" where one of them is none."""
    return "unclear" if "same" in (here, paper) else "yes" if here == paper else "no"


def column(guideline: Guideline, place: int, rounds: int, batch: int, device: torch.device) -> list[dict[str, Any]]:
    """All rows of one column of a table, in turns."""
    factor = guideline.factors[place]
    stacks = [Timed(row, factor, batch, device) for row in guideline.rows]
    seconds: list[list[float]] = [[] for _ in stacks]
    for _ in range(rounds):
        for stack_, found in zip(stacks, seconds):
            found.append(stack_.seconds())
    results = []
    for row, stack_, found in zip(guideline.rows, stacks, seconds):
        speed = [first / own for first, own in zip(seconds[0], found)]
        low, high = _quartiles(speed)
        result = {
            "guideline": guideline.name,
            "setting": row.name,
            "channels": row.channels[device.type] * factor,
            "factor": factor,
            "multiply_adds": stack_.multiply_adds,
            "accesses_of_1x1": stack_.accesses / stacks[0].accesses,
            "seconds": spread(found),
            "relative_speed": {**spread(speed), "lower_quartile": low, "upper_quartile": high},
            "paper": {},
        }
        for platform, printed, first in (
            ("gpu", row.gpu, guideline.rows[0].gpu),
            ("arm", row.arm, guideline.rows[0].arm),
        ):
            ratio, *ends = relative(printed[place], first[place])
            agrees = agreement(direction(low, high), direction(*ends))
            result["paper"][platform] = {"speed": float(printed[place]), "relative_speed": ratio, "agrees": agrees}
        results.append(result)
    return results


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The middle half of the values; all of them where they are fewer than four."""
    if len(values) < 4:
        return min(values), max(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


# ------------------------------------------------------------------------------------------------------------ results


def show(results: list[dict[str, Any]], platform: str) -> None:
    """A table per guideline: what is compared with the first row is the column of the paper for this kind of machine."""
    heads = ["setting", "channels", "memory access", "relative speed here", "GPU (paper)", "ARM (paper)", "agrees"]
    for guideline in GUIDELINES:
        rows = []
        for r in (r for r in results if r["guideline"] == guideline.name):
            speed, paper = r["relative_speed"], r["paper"]
            is_first = r["setting"] == guideline.rows[0].name
            here = f"{speed['median']:.2f} ({speed['lower_quartile']:.2f} … {speed['upper_quartile']:.2f})"
            rows.append(
                [
                    r["setting"],
                    f"{r['channels']} (×{r['factor']})",
                    f"{r['accesses_of_1x1']:.2f}",
                    f"1 = {1e3 * r['seconds']['median']:.2f} ms" if is_first else here,
                    f"{paper['gpu']['relative_speed']:.2f}",
                    f"{paper['arm']['relative_speed']:.2f}",
                    "" if is_first else paper[platform]["agrees"],
                ]
            )
        print(f"\n{guideline.name}  {guideline.says} ({guideline.where})")
        table(heads, rows)


def verdicts(results: list[dict[str, Any]], platform: str) -> dict[str, dict[str, int]]:
    """Per guideline: how many comparisons agree with the paper, how many do not, how many are unclear."""
    found: dict[str, dict[str, int]] = {}
    for guideline in GUIDELINES:
        first = guideline.rows[0].name
        said = [
            r["paper"][platform]["agrees"]
            for r in results
            if r["guideline"] == guideline.name and r["setting"] != first
        ]
        found[guideline.name] = {word: said.count(word) for word in ("yes", "no", "unclear")}
    return found


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cpu, cuda (default: the best there is)")
    parser.add_argument(
        "--batch", type=int, help="pictures per pass (default: 1 on a CPU, 8 on a GPU; paper's Table 8)"
    )
    parser.add_argument("--only", choices=[g.name for g in GUIDELINES], help="one guideline")


def run() -> None:
    """Measure all; print the tables, write the JSON."""
    asked = arguments("The four guidelines of ShuffleNet V2, measured on this machine.", _flags)
    before, device = machine(), device_for(asked.device)
    platform = "gpu" if device.type == "cuda" else "arm"
    batch = asked.batch or (8 if device.type == "cuda" else 1)
    rounds = 2 if asked.quick else 15
    torch.backends.cudnn.benchmark = True  # as the paper does: the fastest algorithm for each convolution
    results = []
    with torch.inference_mode():
        for guideline in GUIDELINES:
            if asked.only not in (None, guideline.name):
                continue
            places = range(1 if asked.quick else len(guideline.factors))
            for place in places:
                results += column(guideline, place, rounds, batch, device)
    shown = [g.name for g in GUIDELINES if asked.only in (None, g.name)]
    show(results, platform)
    counts = {name: said for name, said in verdicts(results, platform).items() if name in shown}
    for name, said in counts.items():
        print(f"{name}: {said['yes']} agree with the paper, {said['no']} do not, {said['unclear']} are unclear")
    result = {"device": device.type, "batch": batch, "rounds": rounds, "verdicts": counts, "results": results}
    path = write("guidelines", asked, before, result)
    print(f"written  {path}")


if __name__ == "__main__":
    run()
