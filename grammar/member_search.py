"""The search for members that complete an object."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from espalier.grammar.atom import Count, Member, Members, Names, Required, derive, formula_atoms
from espalier.grammar.choice import Branch, split
from espalier.grammar.errors import GrammarTooLargeError
from espalier.grammar.formula import Formula, Kind
from espalier.grammar.names import PLENTY, NameTable
from espalier.grammar.rest import at_end, conjuncts, disjuncts, least_of, needed_name

if TYPE_CHECKING:
    from espalier.grammar.search import Search

Texts = dict[Member, str]  # values as JSON
Tail = tuple[tuple[int, str], ...]  # members: place in the table of names, and value as JSON


class MemberSearch:
    """See the module; `search` finds values and remembers."""

    def __init__(self, search: Search) -> None:
        self._search, self._space, self._limits = search, search.space, search.limits
        self._texts: dict[tuple[Formula, ...], Texts] = {}  # of members that don't interact

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
        if least > PLENTY and not all(names.is_free for names in table.classes):
            return None
        if least > self._limits.search_steps:
            raise GrammarTooLargeError("search_steps", self._limits.search_steps, f"{least} members")
        texts = self._texts.setdefault(tuple(atoms), {})
        found: list[tuple[int, str]] = []
        for name in missing:
            place = table.index[name]
            text = None if forbidden >> place & 1 else self._text(texts, atoms, table, place)
            if text is None:
                return (None,)
            found.append((place, text))
        while len(found) < least:
            more = self._more(texts, atoms, table, forbidden, found)
            if more is None:
                return (None,)
            found.extend([more] * (least - len(found) if more[0] >= len(table.names) else 1))
        return (tuple(found),)

    def _more(
        self, texts: Texts, atoms: list[Formula], table: NameTable, forbidden: int, found: list[tuple[int, str]]
    ) -> tuple[int, str] | None:
        """A member that is not there yet: of a class if there is any, of which there are always more."""
        taken = {place for place, _ in found}
        names = len(table.names)
        for place in (*range(names, len(table.members)), *range(names)):
            if place >= names or not (place in taken or forbidden >> place & 1):
                text = self._text(texts, atoms, table, place)
                if text is not None:
                    return place, text
        return None

    def _text(self, texts: Texts, atoms: list[Formula], table: NameTable, place: int) -> str | None:
        """A value that all atoms allow for a member."""
        member = table.members[place]
        found = texts.get(member)
        if found is None:  # what failed may have failed for what is in progress only
            branches = self._branches(self._space.all(atoms), table, place)
            found = self._search.value(branches[0][0]) if branches else None
            if found is not None:
                texts[member] = found
        return found

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
    taken, found, fresh = set(used), [], dict[int, Iterator[str]]()
    for place, text in sorted(members):
        if place >= len(table.names) and place not in fresh:
            fresh[place] = table.fresh(place, taken)
        name = table.names[place] if place < len(table.names) else next(fresh[place])
        taken.add(name)
        found.append((json.dumps(name, ensure_ascii=False), text))
    return found
