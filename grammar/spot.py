"""What is known of the places in a grammar where cursors go on alike, so that it is found out once.

A spot is made when somebody asks what lies ahead or what it costs to come to an end; masks are kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from espalier.grammar.event import Event, Told, Trail
from espalier.grammar.thread import FrameKeys, Thread

Threads = tuple[Thread, ...]
_SPOT, _LINK, _NOTE = 1_000, 300, 200  # bytes that a spot takes with what it knows, each link and each note


MOST_THEN = 32  # bytes of which `Ahead` says that they may come next
FEW_THEN = 16  # as many are looked behind
MOST_AHEAD = 512  # forced bytes that it looks at


@dataclass(frozen=True, slots=True)
class Ahead:
    """The bytes that must come, MOST_AHEAD at most, and what may come behind them.

    `then` are the bytes one of which comes next: all of them or, if there are MOST_THEN or more, so many; two are
    enough where nothing is forced. `further` are the same, signs (which may join the text before them) together with
    the byte behind them where few are; nothing if there are many. `may_end`: the answer may end there; `has_special`:
    a special token may come there.
    """

    forced: bytes
    then: frozenset[int]
    may_end: bool
    has_special: bool
    further: tuple[bytes, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether nothing may come but the end."""
        return self.may_end and not (self.forced or self.then or self.has_special)


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """Where a token leads, what it turned out to be, and what the threads there would tell."""

    spot: Spot
    events: tuple[Event, ...]
    trails: tuple[Trail, ...]


class Spot:
    """Threads; what lies ahead of them; what their end costs in bytes and in tokens.

    `after` says where tokens lead; None for threads that remember a long text, whose spots are nobody else's. `notes`
    are what others found out about what must come here, by the token before.
    """

    __slots__ = ("after", "ahead", "notes", "num_bytes", "num_tokens", "threads")

    def __init__(self, threads: Threads, *, is_kept: bool) -> None:
        self.threads = threads
        self.ahead: Ahead | None = None
        self.num_bytes: int | None = None
        self.num_tokens: int | None = None
        self.after: dict[tuple[int, Told], Link] | None = {} if is_kept else None
        self.notes: dict[int, tuple[int, ...]] = {}


class Spots:
    """The spots of one grammar by what they have in common; all are forgotten when they take too many bytes."""

    def __init__(self, keys: FrameKeys, most_bytes: int) -> None:
        self._keys, self._most = keys, most_bytes
        self._spots: dict[Hashable, Spot] = {}
        self.num_bytes = 0

    def of(self, threads: Threads) -> Spot:
        """The spot of some threads."""
        key = tuple(thread.exact_key(self._keys) for thread in threads)
        if None in key:
            return Spot(threads, is_kept=False)
        found = self._spots.get(key)
        if found is None:
            self._grow(_SPOT)
            found = Spot(threads, is_kept=True)
            if self._most >= _SPOT:
                self._spots[key] = found
        return found

    def link(self, spot: Spot, token: int, told: Told, link: Link) -> None:
        """Keep where a token leads."""
        if spot.after is not None and (token, told) not in spot.after:
            self._grow(_LINK)
            spot.after[token, told] = link

    def note(self, spot: Spot, token: int, tokens: tuple[int, ...]) -> None:
        """Keep which tokens must come behind a token."""
        if spot.after is not None:
            self._grow(_NOTE)
            spot.notes[token] = tokens

    def _grow(self, num_bytes: int) -> None:
        if self.num_bytes + num_bytes > self._most:
            for spot in self._spots.values():
                spot.after = {}  # cut, or they would keep each other alive
            self._spots.clear()
            self.num_bytes = 0
        self.num_bytes += num_bytes
