"""The frames of constraints that are not JSON: texts, choices, patterns, special tokens, free text."""

from __future__ import annotations

from collections.abc import Collection, Hashable

from espalier.grammar.name_trie import Trie
from espalier.grammar.state import Outcome, Pop, State, Step
from espalier.grammar.text import TextMachine

ALL_BYTES = bytes(range(256))


class ChoiceState(State):
    """Inside one of several texts. A text that another one begins with ends wherever what follows goes on."""

    __slots__ = ("_node",)

    def __init__(self, node: Trie) -> None:
        super().__init__()
        self._node = node

    def make(self, byte: int) -> Step:
        """The next byte of a text; the last one ends it."""
        child = self._node.child(byte)
        if child is None:
            return None
        return ChoiceState(child) if child.next_bytes else Pop(0)

    def candidates(self) -> Collection[int]:
        """The bytes with which texts go on."""
        return self._node.next_bytes

    def at_end(self) -> Outcome | None:
        """Whether a text ends here."""
        return 0 if self._node.place >= 0 else None

    def completion(self) -> tuple[bytes, Outcome]:
        """The shortest rest."""
        return min((rest for rest, _ in self._node.rests()), key=lambda rest: (len(rest), rest)), 0

    @property
    def mask_key(self) -> Hashable:
        """The place in the texts."""
        return (ChoiceState, self._node)


class RegexState(State):
    """Inside a text of a language; it ends wherever what follows goes on."""

    __slots__ = ("at", "machine")

    def __init__(self, machine: TextMachine, state: tuple[int, int]) -> None:
        super().__init__()
        self.machine, self.at = machine, state

    def make(self, byte: int) -> Step:
        """The machine's next state."""
        after = self.machine.step(self.at[0], byte)
        # Where the number does not matter, states come again: what is known of a place holds for all of a long text.
        count = self.at[1] + (byte & 0xC0 != 0x80) if self.machine.counts else 0
        return RegexState(self.machine, (after, count)) if after >= 0 and self.machine.lives(after, count) else None

    def candidates(self) -> bytes:
        """All bytes."""
        return ALL_BYTES

    def at_end(self) -> Outcome | None:
        """Whether the text is in the language."""
        return 0 if self.machine.accepts(*self.at) else None

    def completion(self) -> tuple[bytes, Outcome]:
        """The shortest rest."""
        rest = self.machine.witness(*self.at)
        assert rest is not None
        return rest, 0

    @property
    def mask_key(self) -> Hashable:
        """The machine's state."""
        return (RegexState, self.machine, self.machine.horizon(*self.at, 128))

    @property
    def key(self) -> Hashable:
        """With the number of code points, however far from where it matters."""
        return (RegexState, self.machine, self.at)


class UntilState(State):
    """Free text up to a marker of ordinary bytes (Knuth, Morris and Pratt), of which some bytes have been read."""

    __slots__ = ("_marker", "num_read")

    def __init__(self, marker: bytes, num_read: int) -> None:
        super().__init__()
        self._marker, self.num_read = marker, num_read

    def make(self, byte: int) -> Step:
        """The longest beginning of the marker that the text now ends with."""
        read = self._marker[: self.num_read] + bytes([byte])
        length = next(n for n in range(len(read), -1, -1) if read.endswith(self._marker[:n]))
        return Pop(0) if length == len(self._marker) else UntilState(self._marker, length)

    def candidates(self) -> bytes:
        """All bytes."""
        return ALL_BYTES

    def completion(self) -> tuple[bytes, Outcome]:
        """The rest of the marker."""
        return self._marker[self.num_read :], 0

    @property
    def mask_key(self) -> Hashable:
        """How much of the marker has been read."""
        return (UntilState, self._marker, self.num_read)


class FreeState(State):
    """Any text; it ends wherever what follows goes on."""

    __slots__ = ()

    def make(self, byte: int) -> Step:
        """More of it."""
        return self

    def candidates(self) -> bytes:
        """All bytes."""
        return ALL_BYTES

    def at_end(self) -> Outcome | None:
        """Always."""
        return 0

    def completion(self) -> tuple[bytes, Outcome]:
        """Nothing is needed."""
        return b"", 0


class SpecialState(State):
    """Before a special token."""

    __slots__ = ("token",)

    def __init__(self, token: int) -> None:
        super().__init__()
        self.token = token

    def make(self, byte: int) -> Step:
        """No byte is a special token."""
        return None

    def candidates(self) -> bytes:
        """None."""
        return b""

    def completion(self) -> tuple[bytes, Outcome]:
        """It has no bytes: see `Cursor.shortest_completion`."""
        return b"", 0

    @property
    def mask_key(self) -> Hashable:
        """The token."""
        return (SpecialState, self.token)


FREE = FreeState()
