"""Which schemas say the same: equal JSON in one resource does, as long as nothing in it can be referred to by name."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from espalier.grammar.value import Json

_NAMED = frozenset({"$id", "id", "$anchor", "$dynamicAnchor", "$schema"})
_Mark = int | None  # of equal data; None for what has a name in it


class Contents:
    """Numbers the arrays and objects of documents, which have to stay alive, by what they say."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._of: dict[int, _Mark] = {}

    def of(self, data: Json) -> _Mark:
        """The number of an array or object. Members count in their order, which answers follow."""
        pending = [(data, False)]
        while pending:
            here, is_open = pending.pop()
            if id(here) in self._of or not isinstance(here, dict | list):
                continue
            inside: Iterable[Json] = here.values() if isinstance(here, dict) else here
            if is_open:
                self._of[id(here)] = self._number(here)
            else:
                pending.append((here, True))
                pending.extend((inner, False) for inner in inside)
        return self._of[id(data)]

    def _number(self, data: dict[str, Json] | list[Json]) -> _Mark:
        if isinstance(data, dict):
            if data.get("$recursiveAnchor") is True or any(isinstance(data.get(name), str) for name in _NAMED):
                return None
            names, values = tuple(data), [self._key(value) for value in data.values()]
        else:
            names, values = None, [self._key(value) for value in data]
        if None in values:
            return None
        return self._numbers.setdefault((names, *values), len(self._numbers))

    def _key(self, value: Json) -> Hashable:
        if not isinstance(value, dict | list):
            return (type(value), value)
        mark = self._of[id(value)]
        return None if mark is None else ("#", mark)
