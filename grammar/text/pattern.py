"""ECMA-262 regular expressions (22.2.1, with Annex B's leniency) as syntax trees, without recursion over the
pattern.

What an automaton cannot do (back-references, look-behind) is refused with its position. Groups, named or not, only
group; lazy quantifiers match the same strings as greedy ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.text import code_points
from espalier.grammar.text.code_points import Ranges
from espalier.grammar.text.reader import Reader
from espalier.grammar.text.tree import Assertion, Class, Look, Tree, either, joined, repeated

MAX_DEPTH = 120  # of a tree: groups inside each other that do more than group
MAX_COUNT = 10**9
_OPENINGS = ("(?:", "(?=", "(?!", "(?<=", "(?<!", "(?<")
_LOOKS = {"(?=": True, "(?!": False}


@dataclass(slots=True)
class _Group:
    """An open group: how it began, its finished alternatives, the one being read, and how deep the trees in it are."""

    opening: str
    position: int
    options: list[Tree] = field(default_factory=list)
    items: list[Tree] = field(default_factory=list)
    depth: int = 0

    def tree(self) -> Tree:
        return either([*self.options, joined(self.items)])


class _Parser(Reader):
    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._groups = [_Group("", 0)]
        self._names: set[str] = set()

    def parse(self) -> Tree:
        while self.place < len(self.source):
            position, char = self.place, self.take()
            top = self._groups[-1]
            if char == "(":
                self._open(position)
            elif char == ")":
                self._close(position)
            elif char == "|":
                top.options.append(joined(top.items))
                top.items = []
            elif char in "^$":
                self._append(Assertion("^" if char == "^" else "$"), False)
            elif char == "\\" and self.next_char() in ("b", "B"):
                self._append(Assertion("b" if self.take() == "b" else "B"), False)
            else:
                self._append(Class(self._atom(char, position)), True)
        if len(self._groups) > 1:
            raise self.error("a group is not closed", self._groups[-1].position)
        return self._groups[0].tree()

    def _open(self, position: int) -> None:
        self.place = position
        opening = next((text for text in _OPENINGS if self.peek(text)), "(")
        if opening in ("(?<=", "(?<!"):
            raise self.error("look-behind cannot be translated to an automaton")
        self.place += len(opening)
        if opening == "(?<":
            self._name(self.until(">"))
        elif opening == "(" and self.peek("?"):
            raise self.error("unknown kind of group", position)
        self._groups.append(_Group(opening, position))

    def _name(self, name: str | None) -> None:
        if name is None or not name.replace("$", "_").isidentifier():
            raise self.error("a group's name has to be an identifier in <>")
        if name in self._names:
            raise self.error(f"a second group named {name[:80]!r}")
        self._names.add(name)

    def _close(self, position: int) -> None:
        if len(self._groups) == 1:
            raise self.error("a group is closed that was not opened", position)
        group = self._groups.pop()
        parent = self._groups[-1]
        is_look = group.opening in _LOOKS
        does_more = (
            is_look or len(group.options) > 0 or len(group.items) > 1 or self.next_char() in ("*", "+", "?", "{")
        )
        parent.depth = max(parent.depth, group.depth + does_more)
        if parent.depth > MAX_DEPTH:
            raise GrammarTooLargeError("nesting", MAX_DEPTH, f"groups in the pattern {self.source[:80]!r}")
        self._append(Look(group.tree(), _LOOKS[group.opening]) if is_look else group.tree(), True)

    def _append(self, tree: Tree, repeatable: bool) -> None:
        """One more item, with the quantifier that may follow it."""
        position = self.place
        counts = self._quantifier()
        if counts is not None:
            if not repeatable:
                raise self.error("an assertion cannot be repeated", position)
            self.place += self.peek("?")
            following = self.place
            if self._quantifier() is not None:
                raise self.error("nothing to repeat", following)
            tree = repeated(tree, *counts)
        self._groups[-1].items.append(tree)

    def _atom(self, char: str, position: int) -> Ranges:
        if char == ".":
            return code_points.DOT
        if char == "[":
            return self.char_class(position)
        if char == "\\":
            return self.escape(position)
        self.place = position
        if self._quantifier() is not None:
            raise self.error("nothing to repeat", position)
        self.place = position + 1
        return code_points.normal([(ord(char), ord(char))])

    def _quantifier(self) -> tuple[int, int | None] | None:
        """The counts of a quantifier, which is taken; None if there is none: a brace that begins none means itself."""
        char = self.next_char()
        if char in ("*", "+", "?"):
            self.place += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        return self._counts() if char == "{" else None

    def _counts(self) -> tuple[int, int | None] | None:
        position = self.place
        inside = self.until("}")
        least, comma, most = (inside or "")[1:].partition(",")
        if not _is_digits(least) or (most and not _is_digits(most)):
            self.place = position
            return None
        if max(len(least.lstrip("0")), len(most.lstrip("0"))) > 9:
            raise GrammarTooLargeError("pattern_nodes", MAX_COUNT, f"a count in the pattern {self.source[:80]!r}")
        low, high = int(least), (int(most) if most else None) if comma else int(least)
        if high is not None and high < low:
            raise self.error("a quantifier's bounds are out of order", position)
        return low, high


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def parse(source: str) -> Tree:
    """The syntax tree of a pattern. PatternError if it is malformed or cannot be translated."""
    return _Parser(source).parse()
