"""Where a reading of a constraint is: a state, and the frames around it.

JSON is deterministic and needs one thread; where a part of a sequence could end or go on there are several. A thread is
immutable, so copies and rollbacks cost nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from espalier.grammar.state import Outcome, Pop, Push, Return, State, Step

MOST_KEYED = 64  # remembered bytes that may be part of a key

Tape: TypeAlias = "tuple[Tape, int] | None"  # bytes, the last one first, as far as some frame wants them


class Frame:
    """An open frame: where it returns to, and the frame around it."""

    __slots__ = ("back", "depth", "exact_key", "is_recording", "key", "mark", "origin", "outer", "part")

    def __init__(self, back: Return, outer: Frame | None, mark: Tape, part: str | None = None) -> None:
        self.back, self.outer, self.mark = back, outer, mark
        self.depth: int = 1 if outer is None else outer.depth + 1
        self.is_recording: bool = back.captures or (outer is not None and outer.is_recording)
        self.part = part
        # The frame of the constraint's part that this one is inside of; see `event`.
        self.origin: Frame | None = self if back.is_part else None if outer is None else outer.origin
        # Numbers that equal frames share, given by `FrameKeys`: those that allow the same, and those equal in all.
        self.key: int | None = None
        self.exact_key: int | None = None

    @property
    def outermost_recording(self) -> Frame:
        """The frame around this one, or itself, that wants the most of what is read."""
        frame = self
        while frame.outer is not None and frame.outer.is_recording:
            frame = frame.outer
        return frame


class FrameKeys:
    """Gives frames of one grammar numbers: those that go on alike have the same."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Hashable, int], int] = {}
        self._exact: dict[tuple[Hashable, int], int] = {}

    def __len__(self) -> int:
        return len(self._numbers) + len(self._exact)

    def of(self, frame: Frame | None) -> int:
        """A frame's number; -1 for none."""
        if frame is None:
            return -1
        if frame.key is None:
            unknown = [frame]
            while (outer := unknown[-1].outer) is not None and outer.key is None:
                unknown.append(outer)
            for one in reversed(unknown):
                around = -1 if one.outer is None or one.outer.key is None else one.outer.key
                one.key = self._numbers.setdefault((one.back.mask_key, around), len(self._numbers))
        assert frame.key is not None
        return frame.key

    def exact(self, frame: Frame | None) -> int:
        """A number that only frames share which are equal in every respect; -1 for none."""
        if frame is None:
            return -1
        if frame.exact_key is None:
            unknown = [frame]
            while (outer := unknown[-1].outer) is not None and outer.exact_key is None:
                unknown.append(outer)
            for one in reversed(unknown):
                around = -1 if one.outer is None or one.outer.exact_key is None else one.outer.exact_key
                one.exact_key = self._exact.setdefault((one.back.key, around), len(self._exact))
        assert frame.exact_key is not None
        return frame.exact_key


def cut(frame: Frame | None, num_frames: int) -> Hashable | None:
    """What the innermost frames have in common with others that lie on other stacks, as far as masks go.

    None where what lies beneath them may matter too: the parts of a composed constraint, and what compares values. (The
    innermost frame may compare what it encloses.)
    """
    found = []
    for _ in range(num_frames):
        if frame is None or isinstance(frame.back, Sequel):
            return None
        found.append(frame.back.mask_key)
        frame = frame.outer
    if frame is None or frame.is_recording or isinstance(frame.back, Sequel):
        return None
    return tuple(found)


class Sequel(Return):
    """What follows a part of a composed constraint: it may begin in several ways."""

    __slots__ = ()

    @abstractmethod
    def begin(self, outer: Frame | None) -> list[Thread]:
        """The threads that go on behind the part."""

    def resume(self, outcome: Outcome, text: bytes | None) -> State:
        """Never called: threads go on by `begin`."""
        raise NotImplementedError


class End(State):
    """Behind everything."""

    __slots__ = ()

    def make(self, byte: int) -> Step:
        """Nothing follows."""
        return None

    def candidates(self) -> bytes:
        """None."""
        return b""

    def completion(self) -> tuple[bytes, Outcome]:
        """Nothing."""
        return b"", 0


END = End()


@dataclass(frozen=True, slots=True, eq=False)
class Thread:
    """One way to read what was read; live."""

    state: State
    frame: Frame | None
    tape: Tape = None

    def advance(self, byte: int, max_depth: int, popped: Popped | None = None) -> list[Thread]:
        """The threads behind one more byte; none if it is not allowed. `popped` says where frames that end go on."""
        popped, here = popped or behind, self
        while True:
            step, frame = here.state.step(byte), here.frame
            if step is None:
                return []
            if not isinstance(step, Pop):
                after = here.inward(step, byte, max_depth)
                return [] if after is None else [after]
            assert frame is not None
            if not step.again:
                tape = (here.tape, byte) if frame.is_recording else here.tape
                if isinstance(frame.back, Sequel):
                    return frame.back.begin(frame.outer)
                return [Thread(*popped(frame, step.outcome, tape))]
            if isinstance(frame.back, Sequel):
                return []  # `endings` has gone on behind the part already
            here = Thread(*popped(frame, step.outcome, here.tape))

    def inward(self, step: State | Push, byte: int, max_depth: int) -> Thread | None:
        """The thread behind a byte that ends no frame; None if the frame that it opens is too deep."""
        frame, tape = self.frame, self.tape
        if isinstance(step, State):
            if frame is not None and frame.is_recording:
                tape = (tape, byte)
            return Thread(step, frame, tape)
        inner = Frame(step.back, frame, tape)
        if inner.depth > max_depth:
            return None
        if inner.is_recording:
            tape = (tape, byte)
            if not step.inside:
                inner.mark = tape
        return Thread(step.state, inner, tape)

    def endings(self) -> list[Thread]:
        """The threads that follow if a composed constraint's part ends here."""
        if self.frame is None or not isinstance(self.frame.back, Sequel) or self.state.at_end() is None:
            return []
        return self.frame.back.begin(self.frame.outer)

    def key(self, keys: FrameKeys) -> Hashable:
        """Equal threads allow the same, whatever they have read."""
        return (self.state.mask_key, keys.of(self.frame))

    def exact_key(self, keys: FrameKeys) -> Hashable:
        """Threads with equal keys go on alike in every respect; None for one that remembers a long text."""
        text: bytes | None = b""
        if self.frame is not None and self.frame.is_recording:
            text = recorded_within(self.tape, self.frame.outermost_recording.mark, MOST_KEYED)
        return None if text is None else (self.state.key, keys.exact(self.frame), text)


Popped: TypeAlias = "Callable[[Frame, Outcome, Tape], tuple[State, Frame | None, Tape]]"


def behind(frame: Frame, outcome: Outcome, tape: Tape) -> tuple[State, Frame | None, Tape]:
    """Where reading goes on behind a frame that ended."""
    outer = frame.outer
    text = recorded(tape, frame.mark) if frame.back.captures else None
    return frame.back.resume(outcome, text), outer, tape if outer is not None and outer.is_recording else None


def recorded(tape: Tape, mark: Tape) -> bytes:
    """The bytes of a tape behind a mark."""
    found = recorded_within(tape, mark, None)
    assert found is not None
    return found


def recorded_within(tape: Tape, mark: Tape, most: int | None) -> bytes | None:
    """The same; None if there are more."""
    found = bytearray()
    while tape is not mark and tape is not None:
        if len(found) == most:
            return None
        tape, byte = tape
        found.append(byte)
    found.reverse()
    return bytes(found)


def closure(threads: Iterable[Thread], keys: FrameKeys) -> list[Thread]:
    """The threads, and those that follow where parts end; of those that go on alike the first."""
    pending = list(threads)
    if len(pending) == 1 and not pending[0].endings():
        return pending
    found: dict[Hashable, Thread] = {}
    for thread in pending:  # which grows
        if found.setdefault(thread.key(keys), thread) is thread:
            pending.extend(thread.endings())
    return list(found.values())
