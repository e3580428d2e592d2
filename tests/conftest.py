"""Fixtures for every test."""

from __future__ import annotations

import os

import pytest

# Before torch is imported: the machines that run this have two cores, and one thread makes sums repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, the one event loop that the gateway uses."""
    return "asyncio"
