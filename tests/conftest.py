"""Shapes written in the papers' signatures are checked whenever a test calls them."""

from collections.abc import Iterator

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
