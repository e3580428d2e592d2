"""Attention state on disk: one file for each run that was saved, an index in memory, within a bound of bytes.

The index is a prefix tree whose slots are numbers: each file has a range of them. What leaves the tree leaves its file:
that is shortened, and goes with the last of its tokens. After a restart the index is made from the files again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espalier.engine.tier_file import SUFFIX, RunFile, TierFileError, read_header
from espalier.radix import PrefixTree, Root
from espalier.radix.run import EMPTY, Ids, spelled

log = logging.getLogger("espalier.engine.tiers")
MOST_NUMBERS = 2**31 - 1


class Piece(NamedTuple):
    """Tokens [begin, end) of a file's run."""

    name: str
    begin: int
    end: int


class DiskTier:
    """The index of one folder. `remove`, `shorten` and `renew` are told what is to be done to files, maybe later.

    `capacity` is about how many tokens there is room for, of which tenants have shares. Files say in seconds since
    1970 how long they are wanted, which are `epoch_s` more than the engine's.
    """

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        remove: Callable[[str], None],
        shorten: Callable[[str, int], None],
        renew: Callable[[str, float | None], None],
        *,
        capacity: int | None = None,
        epoch_s: float = 0.0,
    ) -> None:
        self.folder, self.limit_bytes, self.num_bytes = folder, limit_bytes, 0
        self._capacity = capacity
        self.tree = self._new_tree()
        self._remove, self._shorten, self._renew, self._epoch_s = remove, shorten, renew, epoch_s
        self._files: dict[str, tuple[int, RunFile]] = {}
        self._live: dict[str, int] = {}
        self._starts = np.empty(0, dtype=np.int64)
        self._names: list[str] = []
        self._next = 0

    def restore(self, now: float) -> None:
        """Make the index from the files that are there; what is damaged, or hangs in the air, goes."""
        found: dict[str, RunFile] = {}
        for path in self.folder.glob("*.part"):
            path.unlink(missing_ok=True)
        for path in self.folder.glob(f"*{SUFFIX}"):
            try:
                file = read_header(path)
                found[file.name] = file
            except TierFileError as error:
                log.warning("kv file ignored", extra={"event": "kv_file_damaged", "reason": str(error)})
                path.unlink(missing_ok=True)
        paths: dict[str, Ids] = {"": EMPTY}
        for file in sorted(found.values(), key=lambda one: one.header.begin):
            above = paths.get(file.header.parent)
            if above is None or len(above) < file.header.begin:
                self._remove(file.name)
                continue
            paths[file.name] = np.concatenate((above[: file.header.begin], file.token_ids))
            self.insert(file, paths[file.name], now)
        self.expire(now)

    def match(self, root: Root, token_ids: Ids, now: float) -> list[Piece]:
        """The pieces of files, in order, that hold the longest prefix."""
        match = self.tree.match(root, token_ids, now)
        self.tree.lock(match.node)
        self.tree.unlock(match.node)
        return self._pieces(match.slots)

    def keep(self, root: Root, token_ids: Ids, now: float, expires: float) -> list[Piece]:
        """The same of a path that is wanted until then; see `PrefixTree.insert`.

        Where all of it is there, the file that it ends with says so from now on, if it has no tokens behind.
        """
        match = self.tree.match(root, token_ids, now)
        self.tree.lock(match.node)
        self.tree.insert(match.node, EMPTY, EMPTY, now, expires=expires)
        self.tree.unlock(match.node)
        pieces = self._pieces(match.slots)
        if pieces and len(match.slots) == len(token_ids):
            self._prolong(pieces[-1], expires)
        return pieces

    def expire(self, now: float) -> None:
        """Remove what was wanted until now, from index and files."""
        self._free(self.tree.expire(now))

    def expires_at(self, expires: float) -> float | None:
        """A time of the engine's clock as files say it."""
        return None if math.isinf(expires) else expires + self._epoch_s

    def insert(self, file: RunFile, path_ids: Ids, now: float) -> bool:
        """A file was written; `path_ids` are the tokens up to its end. False if its beginning is gone meanwhile."""
        header = file.header
        expires = math.inf if header.expires_at is None else header.expires_at - self._epoch_s
        if self._next + header.count > MOST_NUMBERS:
            self._renumber(now)
            return file.name in self._files
        match = self.tree.match(Root(header.tenant, header.salt), path_ids, now)
        self.tree.lock(match.node)
        start = self._next
        self._next += header.count
        slots = np.arange(start - header.begin, start + header.count, dtype=np.int32)
        have = len(match.slots)
        if have < header.begin or have == len(path_ids):
            self.tree.unlock(match.node)
            self._remove(file.name)
            if have < len(path_ids):
                return False
            self.keep(Root(header.tenant, header.salt), path_ids, now, expires)
            return True
        self._files[file.name] = (start, file)
        self._live[file.name] = len(path_ids) - have
        self._starts = np.append(self._starts, start)
        self._names.append(file.name)
        self.num_bytes += file.num_bytes
        self.tree.insert(match.node, path_ids[have:], slots[have:], now, expires=expires)
        self.tree.unlock(match.node)
        self._keep_limit(header.tenant)
        return True

    def forget(self, root: Root, token_ids: Ids, now: float) -> None:
        """Remove a path as far as no other has it, from index and files."""
        self._free(self.tree.forget(root, token_ids, now))

    def lose(self, name: str, root: Root, token_ids: Ids, now: float) -> None:
        """A file on this path turned out to be damaged: what it holds is gone, and what follows it."""
        at = 0
        for piece in self.match(root, token_ids, now):
            if piece.name == name:
                self._free(self.tree.prune(root, token_ids[: at + 1], now))
                return
            at += piece.end - piece.begin

    def _renumber(self, now: float) -> None:
        """Numbers have run out, as they do after billions of tokens: make the index anew from the files."""
        self.tree = self._new_tree()
        self._files.clear()
        self._live.clear()
        self._names.clear()
        self._starts = self._starts[:0]
        self._next = self.num_bytes = 0
        self.restore(now)

    def _new_tree(self) -> PrefixTree:
        # What was saved is for those who are away: they keep their shares.
        return PrefixTree(capacity=self._capacity, ghost_tokens=0, idle_s=math.inf)

    def _keep_limit(self, tenant: str) -> None:
        # What lies together goes whole: most often that is a file, else the end of one.
        while self.num_bytes > self.limit_bytes and (gone := self.tree.evict_leaf(tenant)) is not None:
            self._free(spelled(gone.slots))

    def _free(self, slots: Ids) -> None:
        """Numbers are no longer in the tree: their tokens go from the files, so that none outlives its index."""
        for piece in self._pieces(np.sort(slots)):
            if piece.name not in self._files:
                continue
            self._live[piece.name] -= piece.end - piece.begin
            if not self._live[piece.name]:
                self._drop(piece.name)
            else:
                self._cut(piece.name, piece.begin)

    def _cut(self, name: str, count: int) -> None:
        # Paths are given up from their ends: nothing of the file that is wanted lies behind.
        start, file = self._files[name]
        shorter = file.first(count)
        self._files[name] = start, shorter
        self.num_bytes -= file.num_bytes - shorter.num_bytes
        self._shorten(name, count)

    def _prolong(self, end: Piece, expires: float) -> None:
        start, file = self._files[end.name]
        known, wanted = file.header.expires_at, self.expires_at(expires)
        if known is None or (wanted is not None and wanted <= known) or end.end < file.header.count:
            return
        self._files[end.name] = start, replace(file, header=replace(file.header, expires_at=wanted))
        self._renew(end.name, wanted)

    def _drop(self, name: str) -> None:
        _, file = self._files.pop(name)
        del self._live[name]
        self.num_bytes -= file.num_bytes
        at = self._names.index(name)
        del self._names[at]
        self._starts = np.delete(self._starts, at)
        self._remove(name)

    def _pieces(self, slots: Ids) -> list[Piece]:
        if not len(slots):
            return []
        owners = np.searchsorted(self._starts, slots, side="right") - 1
        changes = np.flatnonzero(np.diff(owners)) + 1
        pieces: list[Piece] = []
        for run, owner in zip(np.split(slots, changes), owners[[0, *changes]].tolist(), strict=True):
            begin = int(run[0]) - int(self._starts[owner])
            pieces.append(Piece(self._names[owner], begin, begin + len(run)))
        return pieces
