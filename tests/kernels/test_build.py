"""Where the native library is kept, and what happens where it can't be built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from espalier.kernels import build, native
from espalier.kernels.errors import NativeBuildError


@pytest.fixture
def fresh_library() -> Iterator[None]:
    """The library is looked for anew, and again afterwards."""
    native.library.cache_clear()
    yield
    native.library.cache_clear()


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ESPALIER_CACHE_DIR", "ESPALIER_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/users")
    assert build.cache_folder() == Path("/users/espalier")
    monkeypatch.setenv("ESPALIER_DATA_DIR", "/data")
    assert build.cache_folder() == Path("/data/cache")
    monkeypatch.setenv("ESPALIER_CACHE_DIR", "/cache")
    assert build.cache_folder() == Path("/cache")


def test_without_a_compiler_there_is_no_library_and_a_reason(
    monkeypatch: pytest.MonkeyPatch, fresh_library: None
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NativeBuildError, match="no-such-compiler"):
        build.build_library()
    assert native.library() is None


def test_a_compiler_that_fails_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_library: None
) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "no memory left" >&2; exit 1; }\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("ESPALIER_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(NativeBuildError, match="no memory left"):
        build.build_library()
    assert not list((tmp_path / "cache").iterdir())
    assert native.library() is None
