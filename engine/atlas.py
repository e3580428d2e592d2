"""What guides found out about the places of one grammar: where a token leads, what must come, what a completion takes.

Requests that come to the same place share what is known of it: a place that somebody has been to costs a look-up.
Masks are kept by the grammar. Imports no torch.
"""

from __future__ import annotations

import sys
from typing import Final

from espalier.grammar import Cursor, Event, Grammar

Told = tuple[Event, ...]

MOST_BYTES = 16 << 20
"""Of one atlas, as far as they are counted; it begins anew behind them."""
_PLACE, _STEP, _RUN = 1_500, 150, 300  # bytes of a place with its cursor, of each token from it, of each forced run
_NEVER: Final = sys.maxsize


class Place:
    """A cursor that nobody moves, and what is known of where it stands.

    `after` are the places behind tokens. `forced` is what must come here by the last `span` tokens before: those tokens
    and the place behind them; where `is_open`, nothing must, whatever came before. `is_over`: nothing may come but the
    end.
    """

    __slots__ = ("_enough", "after", "ahead", "cursor", "forced", "is_open", "is_over", "span")

    def __init__(self, cursor: Cursor) -> None:
        self.cursor, self.ahead = cursor, cursor.ahead()
        self.after: dict[int, Place] = {}
        self.forced: dict[tuple[int, ...], tuple[tuple[int, ...], Place]] = {}
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

    Where a constraint has parts, what a token turns out to be depends on the way to a place: such places are nobody
    else's.
    """

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        # By the one `Ahead` that all cursors at a place share; the place keeps it, so that its id stays its own.
        self._places: dict[int, Place] = {}
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
        if self.grammar.has_parts:
            return Place(cursor)
        found = self._places.get(id(cursor.ahead()))
        if found is None:
            self._grow(_PLACE)
            found = Place(cursor)
            self._places[id(found.ahead)] = found
        return found

    def step(self, place: Place, token: int) -> tuple[Place, Told]:
        """The place behind a token, and what that turned out to be. Raises RejectedError if it is not allowed."""
        cursor = place.cursor.copy()
        told = cursor.accept(token)
        found = self.place(cursor)
        if not self.grammar.has_parts:
            self._grow(_STEP)
            place.after[token] = found
        return found, told

    def note(self, place: Place, before: tuple[int, ...], tokens: tuple[int, ...], end: Place) -> None:
        """Keep what must come at a place behind so many tokens that those before them don't matter."""
        if not self.grammar.has_parts:
            self._grow(_RUN)
            place.forced[before] = tokens, end

    def _grow(self, num_bytes: int) -> None:
        if self.num_bytes + num_bytes > MOST_BYTES:
            for place in self._places.values():
                place.after, place.forced = {}, {}  # cut, or they would keep each other alive
            self._places.clear()
            self._start, self.num_bytes = None, 0
        self.num_bytes += num_bytes
