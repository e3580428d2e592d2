"""The names of an object's members: those that its schemas treat apart, and classes of all others.

A class is a set of names that satisfy the same patterns, so that its members mean the same to every schema of the
object. A class of few names is dissolved into names that are known, so the names of a class never run out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count, product
from string import ascii_lowercase

from espalier.grammar.atom import Member
from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.limits import Limits
from espalier.grammar.name_trie import Trie, trie_of
from espalier.grammar.text import Language, TextMachine, text_machine
from espalier.grammar.text_frame import LanguagesFrame, machines_frame

PLENTY = 1_000  # a class of more names is never used up: a search for members takes fewer steps than that in practice
_LETTERS = ascii_lowercase.encode()
_ORDER = (*_LETTERS, *(byte for byte in range(256) if byte not in _LETTERS))


@dataclass(frozen=True, slots=True)
class NameClass:
    """Names that are not known one by one; `is_free` if those are all names but the known ones."""

    machine: TextMachine
    member: Member
    is_free: bool


class NameTable:
    """The known names, in the order of the schema, and the classes of the others. A `place` counts through both."""

    def __init__(self, names: tuple[str, ...], languages: tuple[Language, ...], limits: Limits) -> None:
        machines = {language: text_machine(language, limits) for language in languages}
        classes: list[NameClass] = []
        dissolved: list[str] = []
        for language, inside in _classes(languages, limits):
            machine = text_machine(language, limits)
            if language is not Language.EVERY:
                if machine.cardinality(PLENTY + 1) <= PLENTY:
                    dissolved.extend(text.decode() for text in strings(machine))
                    continue
                known = [name for name in names if machine.contains(name)]
                machine = text_machine(language & ~Language.literals(known), limits) if known else machine
            classes.append(NameClass(machine, Member(None, inside), language is Language.EVERY))
        self.frame: LanguagesFrame = machines_frame(tuple(names.machine for names in classes))
        self.names = tuple(dict.fromkeys([*names, *dissolved]))
        self.classes = tuple(classes)
        self.index = {name: place for place, name in enumerate(self.names)}
        self.members = (
            *(
                Member(name, frozenset(language for language, m in machines.items() if m.contains(name)))
                for name in self.names
            ),
            *(names.member for names in classes),
        )
        self.everything = (1 << len(self.names)) - 1

    def fresh(self, place: int, used: Collection[str]) -> Iterator[str]:
        """Short names of a class that are not in use when they are asked for, without end."""
        names = self.classes[place - len(self.names)]
        if names.is_free:
            yield from (name for name in _words() if name not in self.index and name not in used)
        while True:
            taken = trie_of(name.encode() for name in (*self.names, *used))
            found = fresh(names.machine, (names.machine.start, 0), (taken,))
            assert found is not None, "a class of names that has run out"
            yield found.decode()


def _words() -> Iterator[str]:
    """All words of small letters, shorter ones first."""
    for length in count(1):
        yield from map("".join, product(ascii_lowercase, repeat=length))


def _classes(languages: tuple[Language, ...], limits: Limits) -> list[tuple[Language, frozenset[Language]]]:
    """All strings, divided by which of the languages they are in; what is empty is left out."""
    found: list[tuple[Language, frozenset[Language]]] = [(Language.EVERY, frozenset())]
    for language in languages:
        refined = []
        for known, inside in found:
            refined.append((known & language, inside | {language}))
            refined.append((known & ~language, inside))
        found = [(known, inside) for known, inside in refined if not text_machine(known, limits).is_empty]
        if len(found) > limits.verdicts:
            raise GrammarTooLargeError("verdicts", limits.verdicts, "combinations of name patterns")
    return found


def strings(machine: TextMachine) -> Iterator[bytes]:
    """All that a machine accepts, of which there is little: shorter texts first."""
    reached = [(machine.start, 0, b"")]
    for state, num_points, text in reached:
        if machine.accepts(state, num_points):
            yield text
        for byte, after in enumerate(machine.row(state).tolist()):
            now = num_points + (byte & 0xC0 != 0x80)
            if after >= 0 and machine.lives(after, now):
                reached.append((after, now, text + bytes([byte])))


Nodes = tuple[Trie | None, ...]


def runs_out(machine: TextMachine, state: tuple[int, int], node: Trie) -> bool:
    """Whether all texts of a machine from a state on are in a trie."""
    if not machine.counts and int((machine.row(state[0]) >= 0).sum()) > len(node.next_bytes):
        return False
    return fresh(machine, state, (node,)) is None


def fresh(machine: TextMachine, state: tuple[int, int], taken: Nodes) -> bytes | None:
    """A short tail that leads from a state to a text outside of some tries; None if there is none."""
    reached: list[tuple[tuple[int, int], Nodes, bytes]] = [(state, taken, b"")]
    for at, nodes, text in reached:
        if all(node is None for node in nodes):
            return text + (machine.witness(*at) or b"")
        if machine.accepts(*at) and all(node is None or node.place < 0 for node in nodes):
            return text
        following = [*_continued(machine, at, nodes, text)]
        for after, inside, longer in following:
            if all(node is None for node in inside):
                return longer + (machine.witness(*after) or b"")
        reached.extend(following)
    return None


def _continued(
    machine: TextMachine, state: tuple[int, int], nodes: Nodes, text: bytes
) -> Iterator[tuple[tuple[int, int], Nodes, bytes]]:
    """One byte further, letters first."""
    row = machine.row(state[0]).tolist()
    for byte in _ORDER:
        now = state[1] + (byte & 0xC0 != 0x80)
        if row[byte] >= 0 and machine.lives(row[byte], now):
            after = tuple(None if node is None else node.child(byte) for node in nodes)
            yield (row[byte], now), after, text + bytes([byte])
