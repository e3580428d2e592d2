"""Where an answer stands in its grammar."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from espalier.grammar.completion import Completion, completion, spelled
from espalier.grammar.constraint import AnyJson, Json
from espalier.grammar.errors import RejectedError
from espalier.grammar.event import Event, Piece, Told, Trail, settle, told_of
from espalier.grammar.part import SpecialState
from espalier.grammar.rows import Rows, Stack
from espalier.grammar.spot import FEW_THEN, MOST_AHEAD, MOST_THEN, Ahead, Link, Spot, Threads
from espalier.grammar.thread import END, Sequel, Thread, behind, closure
from espalier.grammar.token_mask import Mask

if TYPE_CHECKING:
    from espalier.grammar.grammar import Grammar


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """The tokens that may come next.

    `mask` is int32[num_words]: token 32 i + j in bit j of word i. `tokens` lists their ids, ascending, where they are
    few.
    """

    mask: np.ndarray
    tokens: np.ndarray | None


class _Place:
    """Where a cursor stands or stood: its threads, what each would tell, and the place before the last token.

    `spot` is what is known of such places, once somebody has asked.
    """

    __slots__ = ("before", "spot", "threads", "trails")

    def __init__(
        self, threads: Threads, trails: tuple[Trail, ...], before: _Place | None, spot: Spot | None = None
    ) -> None:
        self.threads, self.trails, self.before, self.spot = threads, trails, before, spot


class Cursor:
    """Cheap to copy and to roll back: what it holds is immutable."""

    __slots__ = ("_grammar", "_mask", "_place")

    def __init__(self, grammar: Grammar, threads: Threads) -> None:
        self._grammar = grammar
        self._place = _Place(threads, (Trail(),) * len(threads), None)
        self._mask: tuple[_Place, Mask] | None = None

    def copy(self) -> Cursor:
        """Another cursor at the same place."""
        other = Cursor.__new__(Cursor)
        other._grammar, other._place, other._mask = self._grammar, self._place, self._mask
        return other

    @property
    def _threads(self) -> Threads:
        return self._place.threads

    def fill(self, out: np.ndarray) -> None:
        """Write the mask of the next token into int32[num_words]."""
        self._allowed().fill(out)

    def allowed(self) -> Allowed:
        """The tokens that may come next."""
        mask = self._allowed()
        return Allowed(mask.packed(), mask.few())

    def _allowed(self) -> Mask:
        """The mask here: some are good for one text alone, and are kept nowhere else."""
        if self._mask is None or self._mask[0] is not self._place:
            self._mask = self._place, self._grammar.masks.of(self._threads)
        return self._mask[1]

    def few(self) -> np.ndarray | None:
        """The ids of the tokens that may come next, ascending, where they are few; else None."""
        return self._allowed().few()

    def accept_bytes(self, text: bytes) -> tuple[Event, ...]:
        """Reads bytes and says what they turned out to be. RejectedError if they are not allowed; the cursor then stays
        where it was.
        """
        threads, trails = self._place.threads, self._place.trails
        for position, byte in enumerate(text):
            if self._grammar.has_parts:
                threads, trails = self._told_after(threads, trails, byte)
            else:
                threads = self._after(threads, byte)
            if not threads:
                raise RejectedError(f"byte {bytes([byte])!r} is not allowed after {text[:position]!r}")
        if not self._grammar.has_parts:
            self._place = _Place(threads, (), self._place)
            return (Piece(None, text),) if text else ()
        return self._settle(threads, trails)

    def accept(self, token: int) -> tuple[Event, ...]:
        """Reads a token and says what its bytes turned out to be: see `event`.

        RejectedError if it is not allowed; the cursor then stays where it was.
        """
        if token in self._grammar.end_tokens and self.is_complete():
            events = self.unsettled()
            self._place = _Place((), (), self._place)
            return events
        tokens = self._grammar.vocabulary.tokens
        text = tokens[token] if 0 <= token < len(tokens) else None
        if text is None:
            return self._accept_special(token)
        place = self._place
        spot, told = place.spot, told_of(place.trails)
        if spot is None or spot.after is None or told is None:
            return self.accept_bytes(text)
        link = spot.after.get((token, told))
        if link is None:
            events = self.accept_bytes(text)
            self._link(spot, token, told, events)  # so that the next cursor that comes along need not read the bytes
            return events
        self._place = _Place(link.spot.threads, link.trails, place, link.spot)
        return link.events

    def _link(self, spot: Spot, token: int, told: Told, events: tuple[Event, ...]) -> None:
        after, held = self._spot(), told_of(self._place.trails)
        if held is not None:
            trails = tuple(Trail.of(thread, *one) for thread, one in zip(after.threads, held, strict=False))
            self._grammar.spots.link(spot, token, told, Link(after, events, trails))

    def _accept_special(self, token: int) -> tuple[Event, ...]:
        trails = self._place.trails if self._grammar.has_parts else (Trail(),) * len(self._threads)
        found: dict[Hashable, tuple[Thread, Trail]] = {}
        for thread, trail in zip(self._threads, trails, strict=True):
            if isinstance(thread.state, SpecialState) and thread.state.token == token:
                for after in closure(leave_special(thread), self._grammar.keys):
                    found.setdefault(after.key(self._grammar.keys), (after, trail.pass_special(thread, after)))
        if not found:
            raise RejectedError(f"token {token} is not allowed here")
        return self._settle(*_columns(found.values()))

    def _settle(self, threads: Threads, trails: tuple[Trail, ...]) -> tuple[Event, ...]:
        events, trails = settle(threads, trails) if self._grammar.has_parts else ((), ())
        self._place = _Place(threads, trails, self._place)
        return events

    def unsettled(self) -> tuple[Event, ...]:
        """What the bytes read so far are if the answer ends here, beyond what was told; nothing moves."""
        places = zip(self._place.threads, self._place.trails, strict=False)
        found = [trail.events for thread, trail in places if thread.state is END] or [
            trail.events for trail in self._place.trails
        ]
        return found[0] if found else ()

    def places(self, rows: Rows) -> list[tuple[int, Stack]]:
        """Where a device walks from: a state and a stack for each reading that is alive, by the numbers of `rows`. What
        any of them allows is allowed.
        """
        return [rows.place(thread) for thread in self._threads]

    def rollback(self, num_tokens: int) -> None:
        """Takes back the last tokens (or calls of `accept_bytes`); events that were told are not taken back."""
        if num_tokens < 0:
            raise ValueError(f"rollback of {num_tokens} tokens")
        place: _Place | None = self._place
        for num in range(num_tokens):
            place = None if place is None else place.before
            if place is None:
                raise ValueError(f"rollback of {num_tokens} tokens, but {num} were accepted")
        assert place is not None
        self._place = place

    def is_complete(self) -> bool:
        """Whether the answer may end here."""
        return any(thread.state is END for thread in self._threads)

    def next_bytes(self) -> Iterator[int]:
        """The bytes that may come next, without those of special tokens; each once."""
        return self._next_bytes(self._threads)

    def _next_bytes(self, threads: Threads) -> Iterator[int]:
        seen: set[int] = set()
        for thread in threads:
            for byte in possible(thread):
                if byte not in seen and thread.advance(byte, self._grammar.limits.depth):
                    seen.add(byte)
                    yield byte

    def forced(self) -> bytes:
        """The bytes that must come next, as long as there is no choice."""
        ahead, cursor, found = self.ahead(), self, bytearray()
        while len(ahead.forced) == MOST_AHEAD:
            found += ahead.forced
            cursor = cursor.copy()
            cursor.accept_bytes(ahead.forced)
            ahead = cursor.ahead()
        return bytes(found + ahead.forced)

    @property
    def held(self) -> Told | None:
        """What was read and is yet to be told; None if that is much. Cursors with one `ahead`, the object, and equal
        `held` go on alike.
        """
        return told_of(self._place.trails)

    def ahead(self) -> Ahead:
        """The same, and what may come behind them."""
        spot = self._spot()
        if spot.ahead is None:
            spot.ahead = self._look_ahead()
        return spot.ahead

    def _further(self, threads: Threads, options: frozenset[int]) -> tuple[bytes, ...]:
        """What may come next, a sign together with what may follow it; nothing if that is much."""
        found: list[bytes] = []
        for byte in sorted(options) if len(options) <= FEW_THEN else ():
            behind = () if byte >= 0x80 or chr(byte).isalnum() else self._after(threads, byte)
            following = frozenset(islice(self._next_bytes(behind), FEW_THEN + 1)) if behind else frozenset()
            is_open = any(thread.state is END for thread in behind)
            found += [bytes([byte])] if not following or is_open or len(following) > FEW_THEN else []
            found += [bytes([byte, after]) for after in sorted(following)] if len(following) <= FEW_THEN else []
        return tuple(found)

    def _spot(self) -> Spot:
        """What is known of such places."""
        place = self._place
        if place.spot is None:
            place.spot = self._grammar.spots.of(place.threads)
        return place.spot

    def note(self, token: int, tokens: tuple[int, ...]) -> None:
        """Let all cursors that come here behind a token know which tokens must come next, as somebody found out."""
        self._grammar.spots.note(self._spot(), token, tokens)

    def noted(self, token: int) -> tuple[int, ...] | None:
        """What was noted here."""
        return self._spot().notes.get(token)

    def _look_ahead(self) -> Ahead:
        read, threads = bytearray(), self._threads
        while True:
            may_end = any(thread.state is END for thread in threads)
            has_special = any(isinstance(thread.state, SpecialState) for thread in threads)
            # Where nothing is forced nobody asks what else there is.
            options = frozenset(islice(self._next_bytes(threads), MOST_THEN if read else 2))
            if len(options) != 1 or may_end or has_special or len(read) == MOST_AHEAD:
                further = self._further(threads, options) if read and not has_special else ()
                return Ahead(bytes(read), options, may_end, has_special, further)
            (byte,) = options
            read.append(byte)
            threads = self._after(threads, byte)

    def shortest_completion(self) -> bytes:
        """A short text that completes the answer; special tokens have no bytes and are left out."""
        return b"".join(part for part in self._completion() if isinstance(part, bytes))

    def completion_tokens(self) -> list[int]:
        """The same in tokens, special ones included, as few as spell it; the end token is left out."""
        trie = self._grammar.vocabulary.trie
        parts = ([part] if isinstance(part, int) else spelled(trie, part) for part in self._completion())
        return [token for part in parts for token in part]

    def _completion(self) -> Completion:
        return min((completion(thread) for thread in self._threads), key=_length, default=())

    def completion_cost(self) -> int:
        """The number of those tokens: with a budget of as many, the answer can still be brought to its end."""
        return len(self.completion_tokens())

    def closing_tokens(self) -> list[int]:
        """A completion in tokens with the end token, if the answer does not end by itself behind it."""
        tokens = self.completion_tokens()
        is_over = not self._grammar.end_tokens or self._is_over_behind(tokens)
        return tokens if is_over else [*tokens, self._grammar.end_token]

    def _is_over_behind(self, tokens: list[int]) -> bool:
        """Whether nothing can follow a completion but the end."""
        last = self._grammar.vocabulary.tokens[tokens[-1]] if tokens else None
        if isinstance(self._grammar.constraint, Json | AnyJson) and last and not last[-1:].isdigit():
            return True  # a JSON text that ends with no number has said so; reading a long one takes its time
        after = self.copy()
        for token in tokens:
            after.accept(token)
        return after.ahead().is_over

    def closing_cost(self) -> int:
        """The number of those tokens."""
        spot = self._spot()
        if spot.num_tokens is None:
            spot.num_tokens = len(self.closing_tokens())
        return spot.num_tokens

    def can_close_within(self, num_tokens: int) -> bool:
        """Whether `closing_cost` is at most that many; mostly found out without counting tokens."""
        spot = self._spot()
        if spot.num_bytes is None:
            spot.num_bytes = _length(self._completion())
        return spot.num_bytes < num_tokens or self.closing_cost() <= num_tokens

    def _after(self, threads: Threads, byte: int) -> Threads:
        depth = self._grammar.limits.depth
        if len(threads) == 1:
            after = threads[0].advance(byte, depth)
            if len(after) == 1 and not after[0].endings():
                return (after[0],)
        else:
            after = [other for thread in threads for other in thread.advance(byte, depth)]
        return tuple(closure(after, self._grammar.keys))

    def _told_after(self, threads: Threads, trails: tuple[Trail, ...], byte: int) -> tuple[Threads, tuple[Trail, ...]]:
        """The same with what each thread tells; of threads that go on alike the first is heard."""
        depth, keys = self._grammar.limits.depth, self._grammar.keys
        found: dict[Hashable, tuple[Thread, Trail]] = {}
        for thread, trail in zip(threads, trails, strict=True):
            for after in closure(thread.advance(byte, depth), keys):
                found.setdefault(after.key(keys), (after, trail.read(thread, byte, after)))
        return _columns(found.values())


def _columns(pairs: Iterable[tuple[Thread, Trail]]) -> tuple[Threads, tuple[Trail, ...]]:
    both = list(pairs)
    return tuple(thread for thread, _ in both), tuple(trail for _, trail in both)


def _length(parts: Completion) -> int:
    return sum(1 if isinstance(part, int) else len(part) for part in parts)


def possible(thread: Thread) -> Iterator[int]:
    """Bytes that a thread may read: a superset."""
    yield from thread.state.candidates()
    while thread.frame is not None and not isinstance(thread.frame.back, Sequel):
        outcome = thread.state.at_end()
        if outcome is None:
            return
        thread = Thread(*behind(thread.frame, outcome, thread.tape))
        yield from thread.state.candidates()


def leave_special(thread: Thread) -> list[Thread]:
    """The threads behind a special token."""
    assert thread.frame is not None and isinstance(thread.frame.back, Sequel)
    return thread.frame.back.begin(thread.frame.outer)
