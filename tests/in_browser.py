"""A page in a window of a real browser (the fixture `browser`), and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def window_on(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str], list[str]]:
    """The page in a fresh window: the window, what its console said, and every address it asked for."""
    window = browser.new_page(**options)
    said: list[str] = []
    asked: list[str] = []
    window.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    window.on("pageerror", lambda error: said.append(f"error: {error}"))
    window.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
    window.on("request", lambda request: asked.append(request.url))
    window.goto(path.as_uri())
    return window, said, [url for url in asked if not url.startswith("data:")]
