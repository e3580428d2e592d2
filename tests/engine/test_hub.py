"""Where checkpoints are looked for; the network is off (HF_HUB_OFFLINE), the hub's answers are its own errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import errors

from espalier.engine.errors import CheckpointError
from espalier.engine.hub import BUNDLED_FOLDER, locate


def test_the_bundled_model_is_part_of_the_package() -> None:
    assert locate("bundled") == BUNDLED_FOLDER and (BUNDLED_FOLDER / "model.safetensors").exists()


def test_a_folder_goes_before_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert locate("owner/name") == Path("owner/name")
    assert locate(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    "model", ["", "nothing", "./nothing", "/no/such", "a/b/c", "../x", "owner/", "ow ner/name", "a/..", "~x/y"]
)
def test_what_is_neither_folder_nor_hub_id_is_named(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no hub id"):
        locate(model)


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    with pytest.raises(CheckpointError, match="is a file"):
        locate(str(tmp_path / "model.gguf"))


def test_offline_the_error_says_what_to_do() -> None:
    with pytest.raises(CheckpointError, match=r"'nobody/nothing' is not in the local cache.*go online"):
        locate("nobody/nothing")


def hub_error(kind: type[Exception]) -> Exception:
    response = httpx.Response(404, request=httpx.Request("GET", "https://hub.test/secret?token=x"))
    return kind("secret", response=response)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (lambda: hub_error(errors.GatedRepoError), "is gated.*HF_TOKEN"),
        (lambda: hub_error(errors.RepositoryNotFoundError), "has no model 'owner/name'.*HF_TOKEN"),
        (lambda: hub_error(errors.RevisionNotFoundError), "has no revision 'main2'"),
        (lambda: OSError("secret"), r"can't be downloaded \(OSError\)"),
    ],
)
def test_errors_of_the_hub_are_told_without_its_details(
    error: Callable[[], Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **settings: Any) -> str:
        raise error()

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError, match=says) as caught:
        locate("owner/name", "main2")
    assert "secret" not in str(caught.value)


def test_only_what_is_read_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(model: str, **settings: Any) -> str:
        asked.update(settings, model=model)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert locate("owner/name.v1", "abc") == tmp_path
    assert asked == {
        "model": "owner/name.v1",
        "revision": "abc",
        "allow_patterns": ["*.json", "*.jinja", "model*.safetensors"],
    }
