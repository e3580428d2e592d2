"""What is known of the places in a grammar where cursors go on alike, so that it is found out once.

A spot is made when somebody asks what lies ahead or what it costs to come to an end; masks are kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from espalier.grammar.thread import FrameKeys, Thread

Threads = tuple[Thread, ...]
_SPOT = 1_000  # bytes that a spot takes, what it knows included


MOST_THEN = 32


@dataclass(frozen=True, slots=True)
class Ahead:
    """The bytes that must come, and what may come behind them.

    `then` are the bytes one of which comes next: all of them or, if there are MOST_THEN or more, so many; two are
    enough where nothing is forced. `may_end`: the answer may end there; `has_special`: a special token may come there.
    """

    forced: bytes
    then: frozenset[int]
    may_end: bool
    has_special: bool

    @property
    def is_over(self) -> bool:
        """Whether nothing may come but the end."""
        return self.may_end and not (self.forced or self.then or self.has_special)


class Spot:
    """Threads; what lies ahead of them; what their end costs in bytes and in tokens; the spots behind tokens."""

    __slots__ = ("after", "ahead", "num_bytes", "num_tokens", "threads")

    def __init__(self, threads: Threads, *, is_kept: bool) -> None:
        self.threads = threads
        self.ahead: Ahead | None = None
        self.num_bytes: int | None = None
        self.num_tokens: int | None = None
        self.after: dict[int, Spot] | None = {} if is_kept else None  # None: threads that remember a long text


class Spots:
    """The spots of one grammar by what they have in common; all are forgotten when they become too many."""

    def __init__(self, keys: FrameKeys, most_bytes: int) -> None:
        self._keys, self._most = keys, most_bytes // _SPOT
        self._spots: dict[Hashable, Spot] = {}

    @property
    def num_bytes(self) -> int:
        """What is kept, in bytes."""
        return _SPOT * len(self._spots)

    def of(self, threads: Threads) -> Spot:
        """The spot of some threads."""
        key = tuple(thread.exact_key(self._keys) for thread in threads)
        if None in key:
            return Spot(threads, is_kept=False)
        found = self._spots.get(key)
        if found is None:
            if len(self._spots) >= self._most:
                for spot in self._spots.values():
                    spot.after = {}  # cut, or they would keep each other alive
                self._spots.clear()
            found = Spot(threads, is_kept=True)
            if self._most:
                self._spots[key] = found
        return found
