"""A Hugging Face checkpoint: a folder of config.json, safetensors and tokenizer files, or a hub id of one.

Weights are mapped: a tensor is a view of the file until something converts it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from espalier.engine.errors import CheckpointError
from espalier.engine.options import BUNDLED_MODEL

if TYPE_CHECKING:  # the gateway process reads tokenizer files with this module and loads no torch
    from torch import Tensor

BUNDLED_FOLDER = Path(__file__).parent / "bundled"
INDEX = "model.safetensors.index.json"
PATTERNS = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]


def locate(model: str, revision: str | None = None) -> Path:
    """The folder of a checkpoint: 'bundled', a folder, or a hub id that is downloaded or taken from the hub's cache.

    Raises CheckpointError with what to do when there is no such folder or the hub can't give it.
    """
    if model == BUNDLED_MODEL:
        return BUNDLED_FOLDER
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise CheckpointError(f"{model!r} is no folder with a checkpoint and no hub id of the form 'owner/name'")
    return _download(model, revision)


def _download(model: str, revision: str | None) -> Path:
    import huggingface_hub as hub
    from huggingface_hub import errors

    try:
        return Path(hub.snapshot_download(model, revision=revision, allow_patterns=PATTERNS))
    except errors.GatedRepoError as error:
        raise CheckpointError(f"{model!r} is gated: accept its terms on the hub and set HF_TOKEN") from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{model!r} has no revision {revision!r}") from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(f"the hub has no model {model!r}; if it is private, set HF_TOKEN") from error
    except Exception as error:  # the hub client lets errors of several network libraries through
        kind = type(error).__name__
        raise CheckpointError(
            f"{model!r} is not in the local cache and can't be downloaded ({kind}): "
            "go online, or give the folder of a checkpoint"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file. Raises CheckpointError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"the checkpoint has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} can't be read: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name} holds {type(value).__name__}, an object is needed")
    return value


class Checkpoint:
    """The weights and settings in a folder.

    Raises CheckpointError for files that are missing or damaged; pickled weights are never read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_json(folder / "config.json")
        self._files: dict[str, Any] = {}
        self._homes = self._index()

    def _index(self) -> dict[str, str]:
        index = self.folder / INDEX
        if index.exists():
            homes = read_json(index).get("weight_map")
            if not isinstance(homes, dict):
                raise CheckpointError(f"{INDEX} has no weight_map")
            for file in set(homes.values()):
                if Path(str(file)).name != file:
                    raise CheckpointError(f"{INDEX} names {file!r}, which is not a file of the folder")
            return {str(name): str(file) for name, file in homes.items()}
        if not (self.folder / "model.safetensors").exists():
            raise CheckpointError(
                f"{self.folder.name!r} has no model.safetensors; convert pickled weights with save_pretrained() first"
            )
        return dict.fromkeys(self._open("model.safetensors").keys(), "model.safetensors")

    def _open(self, file: str) -> Any:
        if file not in self._files:
            try:
                self._files[file] = safe_open(self.folder / file, framework="pt")
            except (OSError, SafetensorError) as error:
                raise CheckpointError(f"{file} can't be read: {error}") from error
        return self._files[file]

    def __contains__(self, name: str) -> bool:
        return name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor, mapped from its file. Raises CheckpointError if it is missing or has another shape."""
        if name not in self._homes:
            raise CheckpointError(f"the checkpoint has no tensor {name!r}")
        try:
            tensor: Tensor = self._open(self._homes[name]).get_tensor(name)
        except SafetensorError as error:
            raise CheckpointError(f"{self._homes[name]}: tensor {name!r} can't be read: {error}") from error
        if tuple(tensor.shape) != shape:
            raise CheckpointError(f"tensor {name!r} has shape {tuple(tensor.shape)}, the config asks for {shape}")
        return tensor
