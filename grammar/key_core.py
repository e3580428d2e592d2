"""What a member's name says so far: a place in the trie of the known names, and the machines of the classes of others.

A name that is known or used is never one of a class; whether it is allowed as itself is the object's to say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import TypeAlias

from espalier.grammar.escape import ESCAPED
from espalier.grammar.name_trie import Trie
from espalier.grammar.names import NameTable, fresh, runs_out
from espalier.grammar.state import Outcome
from espalier.grammar.text_frame import BACKSLASH, QUOTE, Core, MachineCore, moved

ClassStates: TypeAlias = "tuple[tuple[int, int] | None, ...]"


class KeyContext(ABC):
    """The object that a name is read for."""

    table: NameTable
    trie: Trie
    used: Trie | None  # names of classes that the object has already; None if there are none
    apart: dict[ClassStates, KeyCore]  # what names come to that begin like none of those
    is_verbatim: bool  # whether JSON spells all these names as they are

    @abstractmethod
    def allows(self, place: int) -> bool:
        """Whether a member of a known name or of a class may come now."""


class KeyCore(Core):
    """See the module; `classes` has a state for each class that the name may still be of."""

    __slots__ = ("_classes", "_context", "_known", "_used", "has_class")

    def __init__(
        self,
        context: KeyContext,
        known: Trie | None,
        used: Trie | None,
        classes: ClassStates,
    ) -> None:
        super().__init__()
        self._context, self._known, self._used, self._classes = context, known, used, classes
        self.has_class = any(state is not None for state in classes)  # whether the name may be of a class

    def follow(self, byte: int) -> Core | None:
        """Kept only where several names begin so: most names are read rarely, and there are many."""
        if self._known is not None and self._known.is_single and self._used is None:
            return self.make(byte)
        return super().follow(byte)

    def make(self, byte: int) -> Core | None:
        """One step in the tries and in each machine."""
        known = None if self._known is None else self._known.child(byte)
        used = None if self._used is None else self._used.child(byte)
        classes = tuple(
            None if state is None else moved(names.machine, state, byte)
            for names, state in zip(self._context.table.classes, self._classes, strict=True)
        )
        return key_core(self._context, known, used, classes)

    def content(self) -> bytes:
        """Where no class begins so, the next bytes of the known names."""
        if self.has_class:
            return super().content()
        return b"" if self._known is None else bytes(byte for byte in self._known.next_bytes if byte not in ESCAPED)

    def outcome(self) -> Outcome | None:
        """The place of the name, if it may be a member now."""
        if self._known is not None and self._known.place >= 0:
            return self._known.place if self._context.allows(self._known.place) else None
        if self._used is not None and self._used.place >= 0:
            return None
        for index, (names, state) in enumerate(zip(self._context.table.classes, self._classes, strict=True)):
            if state is not None and names.machine.accepts(*state):
                return len(self._context.table.names) + index
        return None

    def is_live(self) -> bool:
        """Whether a name begins so that may come now."""
        if self.has_class:
            return True
        return self._known is not None and any(self._context.allows(place) for place in self._known.below)

    def completion(self) -> tuple[bytes, Outcome]:
        """The rest of the first known name that may come, or of a fresh one."""
        if self._known is not None:
            for place in self._known.below:
                if self._context.allows(place):
                    return self._known.completion(place), place
        for index, (names, state) in enumerate(zip(self._context.table.classes, self._classes, strict=True)):
            if state is not None:
                text = fresh(names.machine, state, (self._known, self._used))
                if text is None:
                    continue
                return text, len(self._context.table.names) + index
        raise AssertionError("a name that cannot end")

    @property
    def mask_key(self) -> Hashable:
        """Where no known or used name begins so, only the machines count."""
        horizons = tuple(
            None if state is None else names.machine.horizon(*state, 128)
            for names, state in zip(self._context.table.classes, self._classes, strict=True)
        )
        if self._known is None and self._used is None:
            return (KeyCore, self._context.table.frame, horizons)
        return (KeyCore, self._context, self._known, self._used, horizons)

    @property
    def key(self) -> Hashable:
        """Where in the tries, and the machines' states."""
        return (KeyCore, self._context, self._known, self._used, self._classes)

    @property
    def is_used(self) -> bool:
        """Whether a name that the object has already begins so."""
        return self._used is not None

    def background(self) -> MachineCore | None:
        """The core of the classes alone, whose outcomes count from the first class; None where no class begins so."""
        return self._context.table.frame.core(self._classes) if self.has_class else None

    def apart(self) -> KeyCore:
        """What a name of the same classes comes to that begins like none that is known or used."""
        found = self._context.apart.get(self._classes)
        if found is None:
            found = self._context.apart[self._classes] = KeyCore(self._context, None, None, self._classes)
        return found

    @property
    def first_class(self) -> int:
        """The place of the first class."""
        return len(self._context.table.names)

    @property
    def is_plain(self) -> bool:
        """Whether the name may be of the same classes whatever follows: of none, or of that of all others."""
        return self._context.is_verbatim and all(
            state is None or names.is_free
            for names, state in zip(self._context.table.classes, self._classes, strict=True)
        )

    @property
    def is_endless(self) -> bool:
        """Whether no used names, however many, are all that begin so of its classes."""
        return self._context.is_verbatim and all(
            state is None or names.is_free or names.machine.is_endless
            for names, state in zip(self._context.table.classes, self._classes, strict=True)
        )

    @property
    def nodes(self) -> tuple[Trie | None, Trie | None]:
        """Where the name is among those that are known, and among those that the object has used of its classes."""
        return self._known, self._used

    def allows(self, place: int) -> bool:
        """Whether the known name at a place may be a member now."""
        return self._context.allows(place)

    def special_bytes(self) -> set[int]:
        """The bytes of JSON after which this may differ from its background: of known and used names, and their end."""
        found: set[int] = set()
        for node in (self._known, self._used):
            if node is not None:
                found.update(BACKSLASH if byte in ESCAPED else byte for byte in node.next_bytes)
                if node.place >= 0:
                    found.add(QUOTE)
        return found


def key_core(context: KeyContext, known: Trie | None, used: Trie | None, classes: ClassStates) -> KeyCore | None:
    """A core; None if no name that begins so may come. A class may have run out of names that begin so."""
    if used is not None:
        classes = tuple(
            None if state is None or runs_out(names.machine, state, used) else state
            for names, state in zip(context.table.classes, classes, strict=True)
        )
    if known is not None or used is not None:
        core = KeyCore(context, known, used, classes)
        return core if core.is_live() else None
    found = context.apart.get(classes)
    if found is None and any(state is not None for state in classes):
        found = context.apart[classes] = KeyCore(context, known, used, classes)
    return found


def start(context: KeyContext) -> KeyCore | None:
    """Before the first byte of a name."""
    table = context.table
    classes = tuple(
        (names.machine.start, 0) if context.allows(len(table.names) + index) else None
        for index, names in enumerate(table.classes)
    )
    return key_core(context, context.trie, context.used, classes)
