"""The sets of code points that `\\p{...}` names (ECMA-262, 22.2.1, tables 67 to 70).

They are read from `unicode.txt`, a line for each property, which `examples/grammar/unicode_properties.mjs` writes
with what Node.js knows: `name name ...|gap,length gap,length ...` in base 36, a gap counting from the end of the
range before.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files

from espalier.grammar.text.code_points import Ranges, normal

_KEYS = {
    "General_Category": "gc=",
    "gc": "gc=",
    "Script": "sc=",
    "sc": "sc=",
    "Script_Extensions": "scx=",
    "scx": "scx=",
}


@lru_cache(maxsize=256)
def unicode_property(name: str) -> Ranges | None:
    """The code points of `\\p{name}`; None if the name is not known. Names are case-sensitive."""
    key, equals, value = name.partition("=")
    if equals:
        found = _lines().get(_KEYS[key] + value) if key in _KEYS else None
    else:
        found = _lines().get(name) or _lines().get("gc=" + name)
    return None if found is None else _ranges(found)


@cache
def _lines() -> dict[str, str]:
    """The ranges of each name, still as text."""
    found = {}
    for line in files("espalier.grammar.text").joinpath("unicode.txt").read_text("ascii").splitlines():
        names, _, ranges = line.partition("|")
        found.update(dict.fromkeys(names.split(" "), f" {ranges}"))
    return found


def _ranges(text: str) -> Ranges:
    found, end = [], 0
    for part in text.split():
        gap, _, length = part.partition(",")
        begin = end + int(gap, 36)
        end = begin + int(length, 36)
        found.append((begin, end - 1))
    return normal(found)
