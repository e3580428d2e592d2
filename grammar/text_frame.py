"""The frame of a JSON string: a shell of escapes around a core that reads what the string says.

The core sees decoded UTF-8 bytes only, so `\\u0061` and `a` are the same to it. Written answers escape only what JSON
must; with `any_escapes` every escape is read, surrogate pairs included, lone surrogates never (RFC 8259, 7).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from functools import lru_cache

import numpy as np

from espalier.grammar.escape import ESCAPED, HEX, meanings, reaches
from espalier.grammar.limits import Limits
from espalier.grammar.state import Outcome, Pop, State, Step
from espalier.grammar.text import Language, TextMachine, text_machine

_SHORT = {ord("b"): 8, ord("t"): 9, ord("n"): 10, ord("f"): 12, ord("r"): 13, ord('"'): 34, ord("\\"): 92}
_SHORT_OF = {code: letter for letter, code in _SHORT.items()}
_CONTENT = bytes(byte for byte in range(0x100) if byte not in ESCAPED)
_ESCAPES = {1: bytes(sorted((*_SHORT, *b"/u"))), 6: b"\\", 7: b"u"}  # what may follow so many bytes, else a digit
QUOTE, BACKSLASH = 0x22, 0x5C


class Core:
    """What a string says so far; live: some completion is allowed. Equal strings share one as far as they matter."""

    __slots__ = ("__weakref__", "_after", "_shell", "_shells")

    def __init__(self) -> None:
        self._after: dict[int, Core | None] | None = None
        self._shell: TextState | None = None  # the first one outside of escapes: nearly always the only one
        self._shells: dict[tuple[bytes, bool], TextState] | None = None

    def follow(self, byte: int) -> Core | None:
        """The core after one more byte of UTF-8; None if nothing completes that."""
        if self._after is None:
            self._after = {}
        try:
            return self._after[byte]
        except KeyError:
            found = self._after[byte] = self.make(byte)
            return found

    @abstractmethod
    def make(self, byte: int) -> Core | None:
        """Find out what a byte leads to."""

    @abstractmethod
    def outcome(self) -> Outcome | None:
        """The outcome if the string ends here."""

    @abstractmethod
    def completion(self) -> tuple[bytes, Outcome]:
        """A short tail in UTF-8, and the outcome at its end."""

    @property
    @abstractmethod
    def mask_key(self) -> Hashable:
        """Cores with equal keys allow the same tokens."""

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """Equal keys: the same core in every respect."""

    def content(self) -> bytes:
        """The bytes that may lead on, as JSON spells them without escapes: a superset."""
        return _CONTENT

    def leads_on(self, text: bytes) -> bool:
        """Whether any of some bytes of ASCII leads on."""
        return any(self.follow(byte) is not None for byte in text)

    def shell(self, any_escapes: bool, pending: bytes = b"") -> TextState:
        """The state of a JSON string that said this, `pending` being an escape begun."""
        if not pending and self._shell is not None and self._shell.any_escapes == any_escapes:
            return self._shell
        if not pending and self._shell is None:
            self._shell = TextState(self, any_escapes, pending)
            return self._shell
        if self._shells is None:
            self._shells = {}
        key = (pending, any_escapes)
        found = self._shells.get(key)
        if found is None:
            found = self._shells[key] = TextState(self, any_escapes, pending)
        return found

    def follow_all(self, text: bytes) -> Core | None:
        """The core after several bytes."""
        core: Core | None = self
        for byte in text:
            if core is None:
                return None
            core = core.follow(byte)
        return core


class TextState(State):
    """Inside a JSON string, perhaps inside an escape."""

    __slots__ = ("any_escapes", "core", "pending")

    def __init__(self, core: Core, any_escapes: bool, pending: bytes) -> None:
        super().__init__()
        self.core, self.any_escapes, self.pending = core, any_escapes, pending

    def step(self, byte: int) -> Step:
        """Content is not kept twice: the core has it."""
        if self.pending or byte < 0x20 or byte in (QUOTE, BACKSLASH):
            return super().step(byte)
        core = self.core.follow(byte)
        return None if core is None else core.shell(self.any_escapes)

    def make(self, byte: int) -> Step:
        """Content goes to the core; the quote ends the string where the core may end."""
        if self.pending:
            return self._escape(self.pending + bytes([byte]))
        if byte == QUOTE:
            outcome = self.core.outcome()
            return None if outcome is None else Pop(outcome)
        if byte == BACKSLASH:
            return self._if_live(b"\\")
        return self._after(bytes([byte])) if byte >= 0x20 else None

    def _after(self, decoded: bytes) -> State | None:
        core = self.core.follow_all(decoded)
        return None if core is None else core.shell(self.any_escapes)

    def _escape(self, pending: bytes) -> State | None:
        if len(pending) == 2 and pending[1] in _SHORT:
            return self._after(bytes([_SHORT[pending[1]]]))
        if pending == b"\\/":
            return self._after(b"/") if self.any_escapes else None
        ranges, is_whole = meanings(pending)
        if not ranges:
            return None
        first = ranges[0][0]
        if is_whole:
            if not self.any_escapes and (first >= 0x20 or first in _SHORT_OF):
                return None
            return self._after(chr(first).encode())
        return self._if_live(pending)

    def _if_live(self, pending: bytes) -> State | None:
        """The state inside an escape, if one of its endings is allowed."""
        state = self.core.shell(self.any_escapes, pending)
        if pending == b"\\" and not self.any_escapes:
            return state if self.core.leads_on(ESCAPED) else None
        if pending == b"\\":
            return state if any(state.step(byte) is not None for byte in state.candidates()) else None
        ranges, _ = meanings(pending)
        if not self.any_escapes:
            first, last = ranges[0]
            codes = bytes(code for code in range(first, min(last, 0x1F) + 1) if code not in _SHORT_OF)
            return state if self.core.leads_on(codes) else None
        return state if reaches(self.core, ranges) else None

    def candidates(self) -> bytes:
        """Content, the quote and the backslash; inside an escape its letters."""
        if self.pending:
            return _ESCAPES.get(len(self.pending), HEX)
        return bytes([QUOTE, BACKSLASH]) + self.core.content()

    def completion(self) -> tuple[bytes, Outcome]:
        """The escape, the rest of the text, the quote."""
        if self.pending:
            for byte in self.candidates():
                after = self.step(byte)
                if isinstance(after, TextState):
                    tail, outcome = after.completion()
                    return bytes([byte]) + tail, outcome
            raise AssertionError("an escape that cannot end")
        tail, outcome = self.core.completion()
        return escaped(tail) + b'"', outcome

    @property
    def mask_key(self) -> Hashable:
        """What the core allows, and where in an escape."""
        return (TextState, self.core.mask_key, self.any_escapes, self.pending)

    @property
    def key(self) -> Hashable:
        """What was read, as far as it matters."""
        return (TextState, self.core.key, self.any_escapes, self.pending)


def escaped(text: bytes) -> bytes:
    """UTF-8 as the inside of a JSON string, only what must be escaped."""
    found = bytearray()
    for byte in text:
        if byte in _SHORT_OF:
            found += bytes([BACKSLASH, _SHORT_OF[byte]])
        elif byte < 0x20:
            found += b"\\u%04x" % byte
        else:
            found.append(byte)
    return bytes(found)


def is_verbatim(text: str) -> bool:
    """Whether the inside of a JSON string spells a text as it is."""
    return not any(byte in ESCAPED for byte in text.encode())


class MachineCore(Core):
    """A string of one of several disjoint languages; the outcome is the number of the language."""

    __slots__ = ("frame", "states")

    def __init__(self, frame: LanguagesFrame, states: tuple[tuple[int, int] | None, ...]) -> None:
        super().__init__()
        self.frame, self.states = frame, states

    def make(self, byte: int) -> Core | None:
        """Each machine's next state, if it lives."""
        return self.frame.after(self.states, byte)

    def leads_on(self, text: bytes) -> bool:
        """By the machines' rows."""
        places = np.frombuffer(text, dtype=np.uint8)
        for machine, state in zip(self.frame.machines, self.states, strict=True):
            row = () if state is None else set(machine.row(state[0])[places].tolist())
            if state is not None and any(after >= 0 and machine.lives(after, state[1] + 1) for after in row):
                return True
        return False

    def outcome(self) -> Outcome | None:
        """The language that the text is in."""
        for index, (machine, state) in enumerate(zip(self.frame.machines, self.states, strict=True)):
            if state is not None and machine.accepts(*state):
                return index
        return None

    def completion(self) -> tuple[bytes, Outcome]:
        """The shortest tail into any of the languages."""
        found: list[tuple[bytes, Outcome]] = []
        for index, (machine, state) in enumerate(zip(self.frame.machines, self.states, strict=True)):
            tail = None if state is None else machine.witness(*state)
            if tail is not None:
                found.append((tail, index))
        return min(found, key=_length)

    @property
    def mask_key(self) -> Hashable:
        """The machines and their states, counters collapsed beyond the longest token."""
        return (
            self.frame,
            *(
                None if state is None else machine.horizon(*state, self.frame.far)
                for machine, state in zip(self.frame.machines, self.states, strict=True)
            ),
        )

    @property
    def key(self) -> Hashable:
        """The machines and their states."""
        return (self.frame, self.states)


def _length(found: tuple[bytes, Outcome]) -> int:
    return len(found[0])


class LanguagesFrame:
    """All cores of one row of disjoint languages; one in the process."""

    far = 128  # code points: longer than any token

    def __init__(self, machines: tuple[TextMachine, ...]) -> None:
        self.machines = machines
        self._cores: dict[Hashable, MachineCore] = {}
        self.counts = any(machine.counts for machine in self.machines)

    def start(self) -> MachineCore | None:
        """Before the first byte; None if no string is in any of the languages."""
        states = tuple((m.start, 0) if m.lives(m.start, 0) else None for m in self.machines)
        return self.core(states)

    def after(self, states: tuple[tuple[int, int] | None, ...], byte: int) -> Core | None:
        """The core one byte further."""
        return self.core(
            tuple(None if s is None else moved(m, s, byte) for m, s in zip(self.machines, states, strict=True))
        )

    def core(self, states: tuple[tuple[int, int] | None, ...]) -> MachineCore | None:
        """The core in which each machine is in a state, with so many code points read; None if all are dead."""
        if not self.counts:
            states = tuple(state and (state[0], 0) for state in states)
        found = self._cores.get(states)
        if found is None:
            if all(state is None for state in states):
                return None
            found = MachineCore(self, states)
            if len(self._cores) < 100_000:
                self._cores[states] = found
        return found


def moved(machine: TextMachine, state: tuple[int, int], byte: int) -> tuple[int, int] | None:
    """State and count one byte further; None if nothing completes that."""
    after = machine.step(state[0], byte)
    count = state[1] + (byte & 0xC0 != 0x80)
    return (after, count) if after >= 0 and machine.lives(after, count) else None


@lru_cache(maxsize=2048)
def languages_frame(languages: tuple[Language, ...], limits: Limits) -> LanguagesFrame:
    """The frame of these languages: one in the process."""
    return machines_frame(tuple(text_machine(language, limits) for language in languages))


@lru_cache(maxsize=2048)
def machines_frame(machines: tuple[TextMachine, ...]) -> LanguagesFrame:
    """The frame of machines of disjoint languages: one in the process."""
    return LanguagesFrame(machines)
