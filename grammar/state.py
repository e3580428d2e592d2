"""The automaton's parts: states of frames, what a byte does in them, and what a frame returns to.

A frame is an open JSON value, a member's name, or a part of a composed constraint. In a state a byte leads to the next
state of the frame, opens an inner frame (`Push`), or ends the frame with an outcome (`Pop`), the byte being read once
more by the parent when it belongs to it. States are made on demand, and only live ones: whatever a state allows can be
completed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import TypeAlias

Outcome: TypeAlias = int


class State:
    """A live state of a frame; its row is filled as it is asked for."""

    __slots__ = ("__weakref__", "row")

    is_between = False  # whether a byte here may begin another member's name, or another item

    def __init__(self) -> None:
        self.row = _EMPTY

    def step(self, byte: int) -> Step:
        """What a byte does here; None where it is not allowed."""
        found = self.row.get(byte, self)
        if found is self and byte not in self.row:
            found = self.make(byte)
            if self.row is _EMPTY:  # most states are never asked: grammars have many
                self.row = {}
            self.row[byte] = found
        return found

    @abstractmethod
    def make(self, byte: int) -> Step:
        """Find out what a byte does here."""

    @abstractmethod
    def candidates(self) -> Collection[int]:
        """The bytes that may be allowed: a superset, in ascending order."""

    def at_end(self) -> Outcome | None:
        """The outcome if the frame may end here without another byte."""
        return None

    @abstractmethod
    def completion(self) -> tuple[bytes, Outcome]:
        """A short way to the end of the frame, and with which outcome."""

    @property
    def mask_key(self) -> Hashable:
        """States with equal keys allow the same tokens as long as the frame is not left."""
        return self

    @property
    def key(self) -> Hashable:
        """Equal keys: the same state in every respect."""
        return self.mask_key


class Return:
    """Where a frame goes on when an inner one ends; it lies on the stack."""

    __slots__ = ("__weakref__",)

    captures = False  # whether `resume` wants the bytes of the inner frame
    is_part = False  # whether the inner frame is a part of a composed constraint

    @abstractmethod
    def resume(self, outcome: Outcome, text: bytes | None) -> State:
        """The state after an inner frame of any live outcome; `text` is what it read if this `captures`."""

    def wants_text(self, outcome: Outcome) -> bool:
        """Whether it wants them for an outcome."""
        return self.captures

    def is_sensitive(self, outcome: Outcome) -> bool:
        """Whether what the inner frame said matters at once, not only to later names or items."""
        return False

    def resume_unknown(self, outcome: Outcome) -> State:
        """The state after an inner frame of which nobody knows the bytes: right until another name or item begins."""
        return self.resume(outcome, None)

    @property
    def mask_key(self) -> Hashable:
        """Returns with equal keys allow the same tokens after an inner frame."""
        return self

    @property
    def key(self) -> Hashable:
        """Equal keys: the same return in every respect."""
        return self.mask_key


@dataclass(frozen=True, slots=True)
class Push:
    """The byte opens an inner frame in `state` that returns to `back`; with `inside` the byte is its first."""

    state: State
    back: Return
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Pop:
    """The frame ends with an outcome; with `again`, before the byte, which the parent reads."""

    outcome: Outcome
    again: bool = False


Step: TypeAlias = "State | Push | Pop | None"
_EMPTY: dict[int, Step] = {}
