"""The search for members that complete an object."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from espalier.grammar.atom import Count, Members, Names, Required, derive, formula_atoms
from espalier.grammar.choice import Branch, split
from espalier.grammar.formula import Formula, Kind
from espalier.grammar.names import NameTable
from espalier.grammar.rest import at_end, conjuncts, disjuncts, least_of, needed_name

if TYPE_CHECKING:
    from espalier.grammar.search import Search

Tail = tuple[tuple[int, str], ...]  # members: place in the table of names, and value as JSON


class MemberSearch:
    """See the module; `search` finds values and remembers."""

    def __init__(self, search: Search) -> None:
        self._search, self._space, self._limits = search, search.space, search.limits
        # Of members that don't interact: the value of a name, None if there is none.
        self._texts: dict[tuple[Formula, ...], dict[str, str | None]] = {}

    def members(self, formula: Formula, table: NameTable, forbidden: int) -> Tail | None:
        """Members that complete an object; None if none do."""
        if at_end(formula):
            return ()
        simple = self._independent(formula, table, forbidden)
        if simple is not None:
            return simple[0]
        done: list[tuple[int, str]] = []
        while not at_end(formula):
            self._search.step(1 + len(formula_atoms(formula)) // 8)
            arms = disjuncts(self._space, formula)
            needed = None if arms is not None else needed_name(formula)
            if arms is not None:
                found = (self._search.members(arm, table, forbidden) for arm in arms)
                rest = next((tail for tail in found if tail is not None), None)
            elif needed is None:
                rest = self._optional(formula, table, forbidden)
            else:
                place = table.index[needed]
                if forbidden >> place & 1:
                    return None
                forbidden |= 1 << place
                branches = self._branches(formula, table, place)
                if len(branches) == 1:
                    text = self._search.value(branches[0][0])
                    if text is None:
                        return None
                    done.append((place, text))
                    formula = branches[0][1][0]
                    continue
                rest = self._member(branches, place, table, forbidden)
            return None if rest is None else (*done, *rest)
        return tuple(done)

    def _branches(self, formula: Formula, table: NameTable, place: int) -> tuple[Branch, ...]:
        return split(
            self._space, (derive(self._space, formula, table.members[place]),), self._limits.verdicts, self._search
        )

    def _independent(self, formula: Formula, table: NameTable, forbidden: int) -> tuple[Tail | None] | None:
        """Decides conjunctions whose members don't interact; None if they may."""
        atoms, missing = [], dict[str, None]()
        least, most = 0, None
        for part in conjuncts(formula):
            if part.kind is not Kind.LITERAL or not part.positive:
                return None
            if isinstance(part.atom, Members | Names):
                atoms.append(part)
            elif isinstance(part.atom, Required):
                missing.update(dict.fromkeys(part.atom.missing))
            elif isinstance(part.atom, Count):
                least = max(least, part.atom.least)
                most = least_of(most, part.atom.most)
            else:
                return None
        if most is not None and max(len(missing), least) > most:
            return (None,)
        if len(missing) < least:
            return None
        texts = self._texts.setdefault(tuple(atoms), {})
        found = []
        for name in missing:
            place = table.index[name]
            if forbidden >> place & 1:
                return (None,)
            text = texts.get(name, "")
            if text == "":
                text = texts[name] = self._text(atoms, table, place)
            if text is None:
                del texts[name]  # it may have failed for what is in progress only
                return (None,)
            found.append((place, text))
        return (tuple(found),)

    def _text(self, atoms: list[Formula], table: NameTable, place: int) -> str | None:
        """A value that all of them allow for a member."""
        branches = self._branches(self._space.all(atoms), table, place)
        return self._search.value(branches[0][0]) if branches else None

    def _member(self, branches: Iterable[Branch], place: int, table: NameTable, forbidden: int) -> Tail | None:
        """A member at a place, and what completes the object after it."""
        for shape, (left,) in branches:
            text = self._search.value(shape)
            rest = None if text is None else self._search.members(left, table, forbidden)
            if text is not None and rest is not None:
                return ((place, text), *rest)
        return None

    def _optional(self, formula: Formula, table: NameTable, forbidden: int) -> Tail | None:
        """Members of which none is required by itself: tried in one order, as only the set of them matters."""
        for place in range(len(table.members)):
            if forbidden >> place & 1:
                continue
            self._search.step()
            branches = self._branches(formula, table, place)
            forbidden |= min(1 << place, table.everything + 1) & table.everything
            # A member that leaves everything as it was could be left out.
            found = self._member([b for b in branches if b[1][0] is not formula], place, table, forbidden)
            if found is not None:
                return found
        return None


def spelled(members: Tail, table: NameTable, used: Iterable[str]) -> list[tuple[str, str]]:
    """Names and values as JSON, in the order of the schema, the others last and under names not in use."""
    taken, found = set(used), []
    for place, text in sorted(members):
        name = table.names[place] if place < len(table.names) else table.fresh(place, taken)
        taken.add(name)
        found.append((json.dumps(name, ensure_ascii=False), text))
    return found
