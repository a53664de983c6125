"""Numbers, durations and metrics as people write them. The terminal and the page say the same thing the same way."""

from __future__ import annotations

import math
import unicodedata


def number(value: float | None, digits: int = 4) -> str:
    """A number with at most ``digits`` significant digits; whole numbers keep all of theirs, thousands separated."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if abs(value) >= 1e6 or abs(value) < 1e-4:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    before = len(str(int(abs(value)))) if abs(value) >= 1 else 1 + math.floor(math.log10(abs(value)))
    text = f"{value:,.{max(0, digits - before)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def share(value: float | None, decimals: int = 1) -> str:
    """A fraction as a percentage: 0.989 is ``98.9 %``."""
    if value is None or math.isnan(value):
        return number(value)
    return f"{100 * value:.{decimals}f} %"


def score(value: float | None, percent: bool) -> str:
    """A metric for people: a percentage where it is a fraction of rows, otherwise a number."""
    return share(value) if percent else number(value)


def duration(seconds: float) -> str:
    """``0:00:19``: hours, minutes, seconds."""
    whole = max(0, round(seconds))
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def metric_name(metric: str) -> str:
    """What the field calls a metric: ``top1`` is "top-1 accuracy"; an unknown one keeps its own name."""
    match metric:
        case "top1":
            return "top-1 accuracy"
        case "top5":
            return "top-5 accuracy"
        case "bleu_tokens":
            return "BLEU over tokens"
        case "f1":
            return "F1"
        case "window_f1":
            return "F1 of windows"
        case "r2":
            return "R²"
        case "mae":
            return "mean absolute error"
        case "mse":
            return "mean squared error"
        case "rmse":
            return "root mean squared error"
        case "sse":
            return "sum of squared errors"
        case "bound":
            return "lower bound in nats"
        case _:
            return metric.replace("_", " ")


def printable(text: str) -> str:
    """The text without what could move a cursor or break an encoder: a file's name may hold escape sequences (control
    characters) or bytes that are not text (surrogates)."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" else c for c in text)


def shortened(text: str, length: int) -> str:
    """The text, or its beginning and an ellipsis where it is longer than ``length`` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def capital(text: str) -> str:
    """The text with a capital at its beginning, and the rest as it is."""
    return text[:1].upper() + text[1:]
