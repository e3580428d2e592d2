"""What guides found out about the places of one grammar: where a token leads, what must come, what a completion takes.

Requests that come to the same place share what is known of it: a place that somebody has been to costs a look-up.
Masks are kept by the grammar. Imports no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from typing import Final

from espalier.grammar import Cursor, Event, Grammar

Told = tuple[Event, ...]
"""What a token turned out to be."""
Run = tuple[tuple[int, ...], tuple[Told, ...], "Place"]
"""Tokens that must come, what each of them is where there are parts, and the place behind them."""

MOST_BYTES = 16 << 20
"""Of one atlas, as far as they are counted; it begins anew behind them."""
_PLACE, _STEP, _RUN = 1_500, 200, 350  # bytes of a place with its cursor, of each token from it, of each forced run
_EVENT = 150
_NEVER: Final = sys.maxsize


class Place:
    """A cursor that nobody moves, and what is known of where it stands.

    `after` are the places behind tokens, and what these turn out to be. `forced` is what must come here by the last
    `span` tokens before; where `is_open`, nothing must, whatever came before. `is_over`: nothing may come but the end.
    """

    __slots__ = ("_enough", "after", "ahead", "cursor", "forced", "is_open", "is_over", "span")

    def __init__(self, cursor: Cursor) -> None:
        self.cursor, self.ahead = cursor, cursor.ahead()
        self.after: dict[int, tuple[Place, Told]] = {}
        self.forced: dict[tuple[int, ...], Run] = {}
        self.span = 1
        self.is_over, self.is_open = self.ahead.is_over, False
        self._enough = _NEVER

    def can_close_within(self, num_tokens: int) -> bool:
        """Whether a completion with its end takes at most so many tokens."""
        if num_tokens >= self._enough:
            return True
        if not self.cursor.can_close_within(num_tokens):
            return False
        self._enough = num_tokens
        return True


class Atlas:
    """The places of one grammar that guides have been to, each once; all are forgotten when they take too much.

    Where a constraint has parts, what was read and is yet to be told belongs to a place; where that is much, it is
    nobody else's.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        # By the one `Ahead` that all cursors at a place share; the place keeps it, so that its id stays its own.
        self._places: dict[Hashable, Place] = {}
        self.num_bytes = 0
        self._start: Place | None = None

    @property
    def start(self) -> Place:
        """Before the first token."""
        if self._start is None:
            self._start = self.place(self.grammar.start())
        return self._start

    def place(self, cursor: Cursor) -> Place:
        """Where a cursor stands, which must not be moved any more."""
        held = cursor.held if self.grammar.has_parts else ()
        key = None if held is None else (id(cursor.ahead()), held)
        found = self._places.get(key)
        if found is None:
            self._grow(_PLACE)
            found = Place(cursor)
            if key is not None:
                self._places[key] = found
        return found

    def step(self, place: Place, token: int) -> tuple[Place, Told]:
        """The place behind a token, and what that turned out to be, where there are parts.

        Raises RejectedError if the token is not allowed.
        """
        cursor = place.cursor.copy()
        told = cursor.accept(token)
        found = self.place(cursor), told if self.grammar.has_parts else ()
        self._grow(_STEP + _EVENT * len(found[1]))
        place.after[token] = found
        return found

    def note(self, place: Place, before: tuple[int, ...], run: Run) -> None:
        """Keep what must come at a place behind so many tokens that those before them don't matter."""
        self._grow(_RUN + _EVENT * sum(map(len, run[1])))
        place.forced[before] = run

    def _grow(self, num_bytes: int) -> None:
        if self.num_bytes + num_bytes > MOST_BYTES:
            for place in self._places.values():
                place.after, place.forced = {}, {}  # cut, or they would keep each other alive
            self._places.clear()
            self._start, self.num_bytes = None, 0
        self.num_bytes += num_bytes
