"""Where an answer stands in its grammar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from espalier.grammar.errors import RejectedError
from espalier.grammar.part import SpecialState
from espalier.grammar.thread import END, Sequel, Thread, behind, closure

if TYPE_CHECKING:
    from espalier.grammar.grammar import Grammar

Threads = tuple[Thread, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """The tokens that may come next.

    `mask` is int32[num_words]: token 32 i + j in bit j of word i. `tokens` lists their ids, ascending, where they are
    few.
    """

    mask: np.ndarray
    tokens: np.ndarray | None


class Cursor:
    """Cheap to copy and to roll back: what it holds is immutable."""

    __slots__ = ("_grammar", "_history", "_threads")

    def __init__(self, grammar: Grammar, threads: Threads) -> None:
        self._grammar, self._threads = grammar, threads
        self._history: list[Threads] = []

    def copy(self) -> Cursor:
        """Another cursor at the same place."""
        other = Cursor(self._grammar, self._threads)
        other._history = self._history.copy()
        return other

    def fill(self, out: np.ndarray) -> None:
        """Write the mask of the next token into int32[num_words]."""
        self._grammar.masks.of(self._threads).fill(out)

    def allowed(self) -> Allowed:
        """The tokens that may come next."""
        mask = self._grammar.masks.of(self._threads)
        return Allowed(mask.packed(), mask.tokens)

    def accept_bytes(self, text: bytes) -> None:
        """Reads bytes. RejectedError if they are not allowed; the cursor then stays where it was."""
        threads = self._threads
        for position, byte in enumerate(text):
            threads = self._after(threads, byte)
            if not threads:
                raise RejectedError(f"byte {bytes([byte])!r} is not allowed after {text[:position]!r}")
        self._history.append(self._threads)
        self._threads = threads

    def accept(self, token: int) -> None:
        """Reads a token. RejectedError if it is not allowed; the cursor then stays where it was."""
        if token in self._grammar.end_tokens and self.is_complete():
            self._history.append(self._threads)
            self._threads = ()
            return
        tokens = self._grammar.vocabulary.tokens
        text = tokens[token] if 0 <= token < len(tokens) else None
        if text:
            self.accept_bytes(text)
            return
        behind_it = [
            other
            for thread in self._threads
            if isinstance(thread.state, SpecialState) and thread.state.token == token
            for other in leave_special(thread)
        ]
        if not behind_it:
            raise RejectedError(f"token {token} is not allowed here")
        self._history.append(self._threads)
        self._threads = tuple(closure(behind_it, self._grammar.keys))

    def rollback(self, num_tokens: int) -> None:
        """Takes back the last tokens (or calls of `accept_bytes`)."""
        if not 0 <= num_tokens <= len(self._history):
            raise ValueError(f"rollback of {num_tokens} tokens, but {len(self._history)} were accepted")
        if num_tokens:
            self._threads = self._history[-num_tokens]
            del self._history[-num_tokens:]

    def is_complete(self) -> bool:
        """Whether the answer may end here."""
        return any(thread.state is END for thread in self._threads)

    def next_bytes(self) -> Iterator[int]:
        """The bytes that may come next, without those of special tokens; each once."""
        seen: set[int] = set()
        for thread in self._threads:
            for byte in possible(thread):
                if byte not in seen and thread.advance(byte, self._grammar.limits.depth):
                    seen.add(byte)
                    yield byte

    def forced(self) -> bytes:
        """The bytes that must come next, as long as there is no choice."""
        found, cursor = bytearray(), self.copy()
        while not cursor.is_complete() and not any(isinstance(t.state, SpecialState) for t in cursor._threads):
            options = cursor.next_bytes()
            byte = next(options, None)
            if byte is None or next(options, None) is not None:
                break
            found.append(byte)
            cursor._threads = cursor._after(cursor._threads, byte)
        return bytes(found)

    def shortest_completion(self) -> bytes:
        """A short text that completes the answer; special tokens have no bytes and are left out."""
        return min((completion(thread) for thread in self._threads), key=len, default=b"")

    def _after(self, threads: Threads, byte: int) -> Threads:
        depth = self._grammar.limits.depth
        if len(threads) == 1:
            after = threads[0].advance(byte, depth)
            if len(after) == 1 and not after[0].endings():
                return (after[0],)
        else:
            after = [other for thread in threads for other in thread.advance(byte, depth)]
        return tuple(closure(after, self._grammar.keys))


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


def completion(thread: Thread) -> bytes:
    """A short text that completes a thread."""
    found = bytearray()
    pending: list[Thread] = [thread]
    for _ in range(100_000):
        current = pending[0]
        if current.state is END:
            return bytes(found)
        tail, outcome = current.state.completion()
        found += tail
        assert current.frame is not None
        tape = current.tape
        for byte in tail if current.frame.is_recording else b"":
            tape = (tape, byte)
        if isinstance(current.frame.back, Sequel):
            pending = current.frame.back.begin(current.frame.outer)
        else:
            pending = [Thread(*behind(current.frame, outcome, tape))]
    raise AssertionError("a completion without end")
