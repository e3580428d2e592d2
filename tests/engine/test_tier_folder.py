"""Whose KV files lie where, and what becomes of those that nobody uses any more."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from espalier.engine.errors import EngineError
from espalier.engine.tier_folder import TierFolder


def test_it_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    folder = TierFolder(tmp_path / "kv", "digest")
    for path in (tmp_path / "kv", folder.path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    folder.close()


def test_a_folder_in_use_is_refused_until_it_is_closed(tmp_path: Path) -> None:
    folder = TierFolder(tmp_path, "digest")
    with pytest.raises(EngineError, match="another engine"):
        TierFolder(tmp_path, "digest")
    folder.close()
    TierFolder(tmp_path, "digest").close()


def test_what_another_checkpoint_left_is_removed(tmp_path: Path) -> None:
    before = TierFolder(tmp_path, "before")
    (before.path / "state.safetensors").write_bytes(b"what somebody said")
    before.close()
    TierFolder(tmp_path, "after").close()
    assert not before.path.exists()


def test_what_another_engine_uses_stays(tmp_path: Path) -> None:
    other = TierFolder(tmp_path, "other")
    (other.path / "state.safetensors").write_bytes(b"what somebody says")
    TierFolder(tmp_path, "own").close()
    assert (other.path / "state.safetensors").exists()
    other.close()


def test_what_no_engine_made_stays(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    TierFolder(tmp_path, "own").close()
    assert (tmp_path / "photographs").is_dir()


def test_a_folder_that_can_not_be_made_is_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="can't be used"):
        TierFolder(tmp_path / "file", "digest")
