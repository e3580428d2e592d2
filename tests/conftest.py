"""Fixtures for every test."""

from __future__ import annotations

import os
import re
import tempfile

import pytest

# Before torch is imported: the machines that run this have two cores, and one thread makes sums repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
# Servers that tests start keep their sessions here, not with the user's.
_DATA = tempfile.TemporaryDirectory(prefix="espalier-tests-")
os.environ["XDG_DATA_HOME"] = _DATA.name
# triton warns where its choice is unset.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Choose triton's interpreter for this process, unless `-m gpu` asks for tests on a device.

    triton reads the variable as it is imported, and transformers imports triton: so it is set before either. On a CPU,
    code outside of tests/kernels never comes to a kernel, whatever is set.
    """
    if not re.search(r"(?<!not )\bgpu\b", config.option.markexpr):
        os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests found out with `record_property`, whichever process they ran in."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, the one event loop that the gateway uses."""
    return "asyncio"
