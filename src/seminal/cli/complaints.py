"""What is said of a command line that cannot be read: what was written, and what to write instead."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

KINDS = {
    "int": ("a whole number", "10"),
    "float": ("a number", "0.1"),
    "_numbers": ("numbers with commas", "0.5,0.5,0.5"),
}


class Parser(argparse.ArgumentParser):
    """argparse, with complaints that say what to write instead. ``words`` is the command line it reads."""

    words: Sequence[str] = ()
    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse reads them, and the words of a verb may have flags between them: ``train lstm --epochs 1 set.tsv``.

        After ``--`` nothing is a flag, which only argparse's plain way of reading knows."""
        if self._mixing or self._subparsers is not None or "--" in (args or ()):
            return super().parse_known_args(args, namespace)
        self._mixing = True  # the other way of reading calls this one, twice
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False

    @property
    def _verbs(self) -> dict[str, Any]:
        return next(a.choices for a in self._actions if isinstance(a, argparse._SubParsersAction))

    def error(self, message: str) -> NoReturn:
        """Print one sentence and leave with exit code 2."""
        print(f"error    {self._plainly(message)}", file=sys.stderr)
        raise SystemExit(2)

    def _plainly(self, message: str) -> str:
        if message.startswith("unrecognized arguments: "):
            return self._unknown(message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0])
        if message.startswith("the following arguments are required: "):
            missing = message.partition(": ")[2].replace(",", "")
            if missing == "VERB":
                return f"what shall be done? Write `seminal VERB`, with one of: {', '.join(self._verbs)}."
            return f"`{self.prog}` needs {missing} too: `{self.prog} --help` shows which words it takes."
        found = re.fullmatch(r"argument (\S+): (.*)", message, re.DOTALL)
        if not found:
            return f"{message}. `{self.prog} --help` lists all flags."
        flag = next((word for word in found[1].split("/") if word.startswith("--")), found[1])
        if value := re.fullmatch(r"invalid (int|float|_numbers) value: '(.*)'", found[2], re.DOTALL):
            kind, example = KINDS[value[1]]
            return f"{flag} takes {kind}, and `{value[2]}` is none: write for example `{flag} {example}`."
        if choice := re.match(r"invalid choice: '(.*?)'.*\(choose from (.*)\)", found[2], re.DOTALL):
            names = list(self._verbs) if flag == "VERB" else choice[2].replace("'", "").split(", ")
            what = f"there is no verb `{choice[1]}`" if flag == "VERB" else f"{flag} cannot be `{choice[1]}`"
            return f"{what}.{_nearest(choice[1], names)} Write one of: {', '.join(names)}."
        trouble = found[2].replace("expected one argument", "needs a value after it")
        return f"{flag} {trouble}: `{self.prog} --help` shows which."

    def _unknown(self, word: str) -> str:
        """What to say of a word that has no place."""
        subs = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        verb = next((w for w in self.words if any(w in sub.choices for sub in subs)), "")
        parsers = [self, *(sub.choices[verb] for sub in subs if verb)]
        if not word.startswith("-"):
            return f"`{word}` is one word too many: `{parsers[-1].prog} --help` shows which words it takes."
        flags = [flag for parser in parsers for action in parser._actions for flag in action.option_strings]
        return f"there is no flag `{word}`.{_nearest(word, flags)} `{parsers[-1].prog} --help` lists all."


def _nearest(word: str, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, words, n=2, cutoff=0.5)
    return f" Nearest: {', '.join(near)}." if near else ""
