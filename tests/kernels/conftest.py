"""Both ways of computing on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from espalier.kernels import native


@pytest.fixture(params=["native", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The native library, and plain torch."""
    native.library.cache_clear()
    if request.param == "torch":
        monkeypatch.setenv("ESPALIER_NATIVE", "0")
    elif native.library() is None:
        pytest.skip("there is no native library here")
    yield request.param
    native.library.cache_clear()
