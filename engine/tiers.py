"""Attention state below the device: host memory, disk, and the thread that moves it. Implements `tier.LowerTiers`.

What a session's turn ends with is copied down at once, as far as it isn't there, so that giving up a slot later costs
nothing, and a restart finds it. Bookkeeping happens in the loop's thread, copying in the worker's: a path that is read
is locked where it is read, one that is written belongs to nobody yet.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from espalier.engine.disk_tier import DiskTier
from espalier.engine.host_tier import HostTier
from espalier.engine.kv_pool import KVPool
from espalier.engine.messages import Retention
from espalier.engine.tier import Found, Tier
from espalier.engine.tier_file import SUFFIX, RunFile, RunHeader, renew_run, shorten_run, write_run
from espalier.engine.tier_folder import TierFolder
from espalier.engine.tier_reader import TierReader
from espalier.engine.tier_worker import Job, Outcome, TierWorker
from espalier.radix import Node, PrefixTree, Root
from espalier.radix.run import Ids

MOST_OPEN = 16
"""Jobs that may wait for the worker before nothing more is saved: what is to be read for them can't be evicted."""

log = logging.getLogger("espalier.engine.tiers")


class Tiers:
    """See the module. `tree` is the device's, `kv` its pool; `bytes_per_token` of state.

    `epoch_s` is what the time since 1970 is ahead of `clock`.
    """

    def __init__(
        self,
        tree: PrefixTree,
        kv: KVPool,
        *,
        host: HostTier | None,
        folder: TierFolder | None,
        disk_bytes: int,
        bytes_per_token: int,
        clock: Callable[[], float],
        epoch_s: float,
    ) -> None:
        self._tree, self._kv, self._host, self._folder = tree, kv, host, folder
        self._worker = TierWorker(clock)
        self._device = kv.storage_k.device
        self._disk: DiskTier | None = None
        self._ticket = 0
        self._ready: dict[int, bool] = {}
        self.num_failed = self.num_saved = 0
        if folder is not None:
            self._disk = DiskTier(
                folder.path,
                disk_bytes,
                self._remove_file,
                self._shorten_file,
                self._renew_file,
                capacity=disk_bytes // bytes_per_token,
                epoch_s=epoch_s,
            )
            self._disk.restore(clock())
        self._reader = TierReader(host, self._disk, bytes_per_token)

    @property
    def num_tokens(self) -> dict[Tier, int]:
        """Tokens held by each tier."""
        host = 0 if self._host is None else self._host.tree.num_tokens
        return {"host": host, "disk": 0 if self._disk is None else self._disk.tree.num_tokens}

    def save(self, node: Node, root: Root, now: float, retention: Retention) -> None:
        """See `LowerTiers.save`."""
        if self._worker.num_open >= MOST_OPEN:
            return
        ids, slots = node.path_ids(), node.path_slots()
        expires = math.inf if retention.keep_s is None else now + retention.keep_s
        to_host = self._room_in_host(root, ids, now, expires)
        disk = self._disk if retention.to_disk else None
        pieces = [] if disk is None else disk.keep(root, ids, now, expires)
        on_disk = sum(piece.end - piece.begin for piece in pieces)
        to_disk = disk is not None and on_disk < len(ids)
        if to_host is None and not to_disk:
            return
        in_host = len(ids) if to_host is None else len(ids) - len(to_host[1])
        begin = min(in_host, on_disk if to_disk else len(ids))
        header = RunHeader(
            str(root.tenant),
            str(root.salt),
            pieces[-1].name if pieces else "",
            on_disk,
            len(ids) - on_disk,
            None if disk is None else disk.expires_at(expires),
        )
        written: list[RunFile] = []
        self._tree.lock(node)

        def work() -> None:
            k, v = self._kv.read(self._indices(slots[begin:]))
            if to_host is not None and self._host is not None:
                self._host.write(to_host[1], k[:, in_host - begin :], v[:, in_host - begin :])
            if to_disk and self._folder is not None:
                at = on_disk - begin
                written.append(write_run(self._folder.path, header, ids[on_disk:], k[:, at:], v[:, at:]))

        def done(outcome: Outcome) -> None:
            self._tree.unlock(node)
            if to_host is not None and self._host is not None:
                self._settle_host(to_host[0], ids[in_host:], to_host[1], outcome, now, expires)
            for file in written:
                assert disk is not None
                disk.insert(file, ids, now)
            if isinstance(outcome, Exception):
                self._fail("save", outcome)
            self.num_saved += 1

        self._worker.submit(Job(work, done), is_urgent=False)

    def find(self, root: Root, token_ids: Ids, begin: int, now: float) -> Found | None:
        """See `LowerTiers.find`."""
        return self._reader.find(root, token_ids, begin, now)

    def seconds(self, num_tokens: int) -> float:
        """What bringing up so many tokens takes, from the fastest tier there is."""
        return self._reader.speeds["disk" if self._host is None else "host"].seconds(num_tokens)

    def load(self, found: Found, root: Root, token_ids: Ids, slots: Ids, now: float) -> int:
        """See `LowerTiers.load`."""
        self._ticket += 1
        ticket, target = self._ticket, self._indices(slots)
        read, settle = self._reader.prepare(found, root, token_ids, found.end - len(slots), now)

        def work() -> None:
            k, v = read()
            self._kv.write(target, k, v)

        def done(outcome: Outcome) -> None:
            settle(outcome)
            if isinstance(outcome, Exception):
                self._fail("load", outcome)
            else:
                self._reader.speeds[found.tier].learn(len(slots), outcome)
            self._ready[ticket] = not isinstance(outcome, Exception)

        self._worker.submit(Job(work, done), is_urgent=True)
        return ticket

    def poll(self, wait_s: float = 0.0) -> dict[int, bool]:
        """See `LowerTiers.poll`."""
        self._worker.poll(wait_s)
        ready, self._ready = self._ready, {}
        return ready

    def forget(self, root: Root, token_ids: Ids, now: float) -> None:
        """See `LowerTiers.forget`."""
        self._settle_all()
        if self._host is not None:
            self._host.forget(root, token_ids, now)
        if self._disk is not None:
            self._disk.forget(root, token_ids, now)

    def expire(self, now: float) -> None:
        """See `LowerTiers.expire`."""
        self._worker.poll()  # what was saved last may be over, too
        if self._host is not None:
            self._host.expire(now)
        if self._disk is not None:
            self._disk.expire(now)

    def close(self) -> None:
        """Finish what is being saved, and end."""
        self._worker.close()
        if self._folder is not None:
            self._folder.close()

    def check(self) -> None:
        """Raise AssertionError if an invariant does not hold."""
        if self._host is not None:
            self._host.check()
        if self._disk is not None:
            self._disk.tree.check()

    def _room_in_host(self, root: Root, ids: Ids, now: float, expires: float) -> tuple[Node, Ids] | None:
        """Where the path goes on in the host tier, locked, and slots for the rest; None where nothing is to be done."""
        if self._host is None:
            return None
        node, have = self._host.match(root, ids, now)
        self._host.keep(node, now, expires)
        slots = self._host.take(len(ids) - len(have), root) if len(have) < len(ids) else None
        if slots is None:
            self._host.unlock(node)
            return None
        return node, slots

    def _settle_host(self, node: Node, ids: Ids, slots: Ids, outcome: Outcome, now: float, expires: float) -> None:
        assert self._host is not None
        if isinstance(outcome, Exception):
            self._host.give(slots)
        else:
            self._host.insert(node, ids, slots, now, expires)
        self._host.unlock(node)

    def _remove_file(self, name: str) -> None:
        self._on_files(lambda path: path.unlink(missing_ok=True), name)

    def _shorten_file(self, name: str, count: int) -> None:
        self._on_files(lambda path: shorten_run(path, count), name)

    def _renew_file(self, name: str, expires_at: float | None) -> None:
        self._on_files(lambda path: renew_run(path, expires_at), name)

    def _on_files(self, work: Callable[..., None], name: str) -> None:
        assert self._folder is not None
        path = self._folder.path / f"{name}{SUFFIX}"

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Exception):
                self._fail("file", outcome)

        self._worker.submit(Job(lambda: work(path), done), is_urgent=False)

    def _settle_all(self) -> None:
        """Wait for what is under way: what is forgotten must not come back by it."""
        while self._worker.num_open:
            self._worker.poll(1.0)

    def _indices(self, slots: Ids) -> Tensor:
        return torch.from_numpy(slots).long().to(self._device)

    def _fail(self, what: str, error: Exception) -> None:
        self.num_failed += 1
        log.warning("tier failed", extra={"event": "tier_failed", "what": what, "reason": str(error)})
