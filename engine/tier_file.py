"""A file of attention state: one run of a path, its token ids, keys and values, as safetensors with a checksum.

Readable by its owner only. A file is written whole under another name first, so that one under its own name is
complete, or was torn by a crash, which its checksums show: one over the tensors, and the seal over what is said of them
and that one. So its time can be renewed in place without reading all of it.

Legend: L layers, n tokens, M KV heads, D head size. `k` and `v` are [L, n, M, D], whatever the pool's layout.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from espalier.radix.run import Ids

SUFFIX = ".kv.safetensors"
VERSION = 1


class TierFileError(Exception):
    """A file is damaged, or is none of ours."""


@dataclass(frozen=True, slots=True)
class RunHeader:
    """Tokens [begin, begin + count) of a path below a root; `parent` is the file that has token `begin` - 1, or "".

    They are wanted until `expires_at`, in seconds since 1970, and no longer; None: as long as there is room.
    """

    tenant: str
    salt: str
    parent: str
    begin: int
    count: int
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file by its name, its size, and what it holds; without keys and values. `content_bytes` are all its tokens'."""

    name: str
    num_bytes: int
    content_bytes: int
    header: RunHeader
    token_ids: Ids

    def first(self, count: int) -> RunFile:
        """What it is when it is shortened; a few bytes less."""
        won = self.content_bytes * (self.header.count - count) // self.header.count
        return RunFile(
            self.name,
            self.num_bytes - won,
            self.content_bytes - won,
            replace(self.header, count=count),
            self.token_ids[:count].copy(),
        )


def write_run(
    folder: Path, header: RunHeader, token_ids: Ids, k: Tensor, v: Tensor, name: str | None = None
) -> RunFile:
    """Write a run under a new name, or in the place of another."""
    tensors = {"token_ids": torch.from_numpy(np.ascontiguousarray(token_ids)), "k": k.contiguous(), "v": v.contiguous()}
    about = {"version": VERSION, **asdict(header)}
    del about["expires_at"]
    said = {"header": json.dumps(about), "expires_at": _spelled(header.expires_at), "content": _digest(tensors)}
    content = save(tensors, _sealed(said))
    name = name or secrets.token_hex(16)
    path, part = folder / f"{name}{SUFFIX}", folder / f"{name}.part"
    try:
        part.touch(mode=0o600, exist_ok=False)
        part.write_bytes(content)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    return RunFile(name, len(content), sum(tensor.nbytes for tensor in tensors.values()), header, token_ids)


def read_header(path: Path) -> RunFile:
    """What a file says it holds, if its seal is right. Raises TierFileError; keys and values are not looked at."""
    try:
        with safe_open(path, framework="np") as file:
            said = _unsealed(path, file.metadata())
            token_ids = file.get_tensor("token_ids")
        num_bytes, head_bytes = path.stat().st_size, len(_head(path))
        about, expires_at = json.loads(said["header"]), float(said["expires_at"])
        if about.pop("version") != VERSION:
            raise TierFileError(f"{path.name} is of another version")
        header = RunHeader(**about, expires_at=None if math.isinf(expires_at) else expires_at)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TierFileError(f"{path.name} can't be read: {error}") from error
    if len(token_ids) != header.count or token_ids.dtype != np.int32:
        raise TierFileError(f"{path.name} holds {len(token_ids)} tokens, and says {header.count}")
    name = path.name.removesuffix(SUFFIX)
    return RunFile(name, num_bytes, num_bytes - head_bytes, header, token_ids)


def read_run(path: Path) -> tuple[Ids, Tensor, Tensor]:
    """Token ids, keys and values of a file. Raises TierFileError if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            said = _unsealed(path, file.metadata())
            tensors = {name: file.get_tensor(name) for name in ("token_ids", "k", "v")}
        if said["content"] != _digest(tensors):
            raise TierFileError(f"{path.name} has a wrong checksum")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TierFileError(f"{path.name} can't be read: {error}") from error
    ids: Ids = tensors["token_ids"].numpy()
    return ids, tensors["k"], tensors["v"]


def shorten_run(path: Path, count: int) -> None:
    """Keep only the first tokens of a file: the others were deleted. A file with which that fails goes whole."""
    try:
        file = read_header(path)
        ids, k, v = read_run(path)
        header = replace(file.header, count=count)
        write_run(path.parent, header, ids[:count].copy(), k[:, :count], v[:, :count], file.name)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def renew_run(path: Path, expires_at: float | None) -> None:
    """Have a file wanted until another time, which is written over the old one. Raises TierFileError, OSError."""
    read_header(path)
    head = _head(path)
    old: dict[str, str] = json.loads(head[8:])["__metadata__"]
    new = _sealed({**old, "expires_at": _spelled(expires_at)})
    for name in ("expires_at", "seal"):
        head = head.replace(f'"{name}":"{old[name]}"'.encode(), f'"{name}":"{new[name]}"'.encode())
    with path.open("r+b", buffering=0) as file:
        file.write(head)


def _head(path: Path) -> bytes:
    """All before the tensors: eight bytes that say how much JSON follows, and that."""
    with path.open("rb") as file:
        size = file.read(8)
        return size + file.read(int.from_bytes(size, "little"))


def _spelled(expires_at: float | None) -> str:
    """Any time takes as many characters, so that one can be written over another."""
    return f"{math.inf if expires_at is None else expires_at:20.6f}"


def _sealed(said: dict[str, str]) -> dict[str, str]:
    """What is said in a file's head, and the checksum over it."""
    plain = {name: text for name, text in said.items() if name != "seal"}
    seal = hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=16)
    return {**plain, "seal": seal.hexdigest()}


def _unsealed(path: Path, said: dict[str, str] | None) -> dict[str, str]:
    if not said or said != _sealed(said):
        raise TierFileError(f"{path.name} has a wrong checksum")
    return said


def _digest(tensors: dict[str, Tensor]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        found.update(tensors[name].contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()
