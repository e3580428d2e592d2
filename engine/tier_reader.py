"""Finds and reads state in the tiers below the device, and knows how fast each is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from espalier.engine.disk_tier import DiskTier, Piece
from espalier.engine.host_tier import HostTier
from espalier.engine.tier import Found, Tier
from espalier.engine.tier_file import SUFFIX, TierFileError, read_run
from espalier.engine.tier_worker import Outcome
from espalier.radix import Root
from espalier.radix.run import Ids


@dataclass(slots=True)
class Speed:
    """How fast a tier is read: a fixed time, and tokens a second, as measured."""

    fixed_s: float
    tokens_per_s: float

    def seconds(self, num_tokens: int) -> float:
        """Reading so many tokens."""
        return self.fixed_s + num_tokens / self.tokens_per_s

    def learn(self, num_tokens: int, took_s: float) -> None:
        """One reading; small ones tell little."""
        if num_tokens >= 64:
            self.tokens_per_s += 0.3 * (num_tokens / max(took_s, 1e-6) - self.tokens_per_s)


class TierReader:
    """Over the tiers that there are."""

    def __init__(self, host: HostTier | None, disk: DiskTier | None, bytes_per_token: int) -> None:
        self.host, self.disk = host, disk
        # Guesses, until something is read.
        self.speeds: dict[Tier, Speed] = {
            "host": Speed(0.001, 2e9 / bytes_per_token),
            "disk": Speed(0.003, 4e8 / bytes_per_token),
        }

    def find(self, root: Root, token_ids: Ids, begin: int, now: float) -> Found | None:
        """See `LowerTiers.find`."""
        found: list[Found] = []
        if self.host is not None:
            node, slots = self.host.match(root, token_ids, now)
            self.host.unlock(node)
            found.append(Found("host", len(slots), self.speeds["host"].seconds(len(slots) - begin)))
        if self.disk is not None:
            end = sum(piece.end - piece.begin for piece in self.disk.match(root, token_ids, now))
            found.append(Found("disk", end, self.speeds["disk"].seconds(end - begin)))
        # The longest, and of those that are equally long the fastest.
        best = max(found, key=lambda one: (one.end, -one.seconds), default=None)
        return best if best is not None and best.end > begin else None

    def prepare(
        self, found: Found, root: Root, token_ids: Ids, begin: int, now: float
    ) -> tuple[Callable[[], tuple[Tensor, Tensor]], Callable[[Outcome], None]]:
        """What reads tokens [begin, found.end) of a path, in the worker, and what is to be done after it."""
        if found.tier == "host":
            assert self.host is not None
            host = self.host
            node, slots = host.match(root, token_ids[: found.end], now)
            return lambda: host.read(slots[begin:]), lambda _: host.unlock(node)
        assert self.disk is not None
        disk = self.disk
        pieces = _from(disk.match(root, token_ids[: found.end], now), begin)
        bad: list[str] = []

        def settle(outcome: Outcome) -> None:
            if isinstance(outcome, Exception) and bad:
                disk.lose(bad[0], root, token_ids, now)

        wanted = token_ids[begin : found.end].copy()
        return lambda: _read_pieces(disk, pieces, wanted, bad), settle


def _read_pieces(disk: DiskTier, pieces: list[Piece], wanted: Ids, bad: list[str]) -> tuple[Tensor, Tensor]:
    """Keys and values of the wanted tokens; `bad` names the file that failed, if one did."""
    ks: list[Tensor] = []
    vs: list[Tensor] = []
    for name, begin, end in pieces:
        bad[:] = [name]
        ids, k, v = read_run(disk.folder / f"{name}{SUFFIX}")
        if not np.array_equal(ids[begin:end], wanted[: end - begin]):
            raise TierFileError(f"{name} holds other tokens than the index says")
        wanted = wanted[end - begin :]
        ks.append(k[:, begin:end])
        vs.append(v[:, begin:end])
    bad.clear()
    return torch.cat(ks, dim=1), torch.cat(vs, dim=1)


def _from(pieces: list[Piece], begin: int) -> list[Piece]:
    """The pieces behind the first `begin` tokens."""
    left: list[Piece] = []
    at = 0
    for piece in pieces:
        skip = min(max(begin - at, 0), piece.end - piece.begin)
        if piece.begin + skip < piece.end:
            left.append(Piece(piece.name, piece.begin + skip, piece.end))
        at += piece.end - piece.begin
    return left
