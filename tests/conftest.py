"""Shapes written in the papers' signatures are checked whenever a test calls them; fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import install_import_hook

# Before any paper is imported: the hook works on modules as they are loaded.
install_import_hook("seminal.papers", "beartype.beartype")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For many small tensors: threads that wait for each other on a busy machine cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real browser without a network, to open pages in."""
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip(f"there is no Chromium at {chromium} to open the page in")
    from playwright.sync_api import sync_playwright

    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    with sync_playwright() as play:
        window = play.chromium.launch(executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu", *quiet])
        yield window
        window.close()
