"""A Hugging Face checkpoint: a folder of config.json and safetensors files.

Weights are mapped: a tensor is a view of its file until something converts it. Pickled weights are never read.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from espalier.engine.errors import CheckpointError, UnsupportedModelError
from espalier.engine.hub import locate

if TYPE_CHECKING:  # the gateway process reads tokenizer files with this module and loads no torch
    from torch import Tensor

__all__ = ["Checkpoint", "locate", "read_json"]

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
FLOATS = frozenset({"F64", "F32", "BF16", "F16"})
_MADV_DONTNEED = 4


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file. Raises CheckpointError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"the checkpoint has no {path.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path.name} can't be read: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name} holds a {type(value).__name__}; an object is needed")
    return value


class Checkpoint:
    """The weights and settings in a folder.

    Raises CheckpointError for files that are missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_json(folder / "config.json")
        self._files: dict[str, Any] = {}
        self._homes = self._indexed() if (folder / INDEX).exists() else self._single()

    def __contains__(self, name: str) -> bool:
        return name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, read from its file's header. Raises UnsupportedModelError unless it holds floats."""
        header = self._files[self._homes[name]].get_slice(name)
        if (dtype := header.get_dtype()) not in FLOATS:
            raise UnsupportedModelError(
                f"tensor {name!r} is stored as {dtype}, {', '.join(sorted(FLOATS))} are implemented; "
                "take an unquantized checkpoint"
            )
        return tuple(header.get_shape())

    def tensor(self, name: str) -> Tensor:
        """A tensor, a view of its file."""
        home = self._homes[name]
        try:
            tensor: Tensor = self._files[home].get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{home}: tensor {name!r} can't be read: {error}") from error
        return tensor

    def release(self, name: str) -> None:
        """Give back the memory that pages of a tensor's file take; who reads them again reads the file again."""
        if sys.platform != "linux":
            return
        tensor = self.tensor(name)
        start, size, page = tensor.data_ptr(), tensor.numel() * tensor.element_size(), mmap.PAGESIZE
        first, end = -(-start // page) * page, (start + size) // page * page
        if end > first:
            ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), _MADV_DONTNEED)

    def _single(self) -> dict[str, str]:
        if not (self.folder / SINGLE).exists():
            raise CheckpointError(
                f"{self.folder.name!r} has no {SINGLE}; pickled weights are not read, "
                "convert them with transformers' save_pretrained()"
            )
        return dict.fromkeys(self._open(SINGLE), SINGLE)

    def _indexed(self) -> dict[str, str]:
        homes = read_json(self.folder / INDEX).get("weight_map")
        if not isinstance(homes, dict) or not homes:
            raise CheckpointError(f"{INDEX} has no weight_map")
        for file in homes.values():
            # A name of the folder's own, with no way out of it.
            if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
                raise CheckpointError(f"{INDEX} names {file!r}, which is no safetensors file of this folder")
        held = {file: self._open(file) for file in sorted(set(homes.values()))}
        for name, file in homes.items():
            if name not in held[file]:
                raise CheckpointError(f"{INDEX} places tensor {name!r} in {file}, which does not hold it")
        return homes

    def _open(self, file: str) -> frozenset[str]:
        """Map a file; the names in it."""
        try:
            mapped: Any = safe_open(self.folder / file, framework="pt")
        except FileNotFoundError:
            raise CheckpointError(f"the checkpoint has no {file}; its download is incomplete") from None
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{file} is damaged: {error}; download it again") from error
        self._files[file] = mapped
        return frozenset(mapped.keys())
