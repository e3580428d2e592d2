"""Where the names of an object lie in a trie of tokens: found out once for all its states, whichever names may come."""

from __future__ import annotations

from dataclasses import dataclass

from espalier.grammar.name_trie import Trie
from espalier.grammar.trie import TokenTrie

QUOTE = 0x22
_QUOTE = b'"'
_ENTRY, _PART, _NODE = 500, 120, 40  # bytes that an entry takes, and each part and node of it


@dataclass(frozen=True, slots=True)
class NamePaths:
    """Where names lead from a node on.

    `groups` are the nodes where names are begun, with the places of the names that begin so; `ends` the quotes behind
    whole names, each with the place of its name.
    """

    groups: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    ends: tuple[tuple[int, int], ...]

    @property
    def num_bytes(self) -> int:
        """Roughly what it takes."""
        num_nodes = sum(len(places) + len(nodes) for places, nodes in self.groups)
        return _ENTRY + _PART * (len(self.groups) + len(self.ends)) + _NODE * num_nodes


def name_paths(trie: TokenTrie, node: int, names: Trie) -> NamePaths:
    """The paths of all names of a trie from a node on."""
    groups: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    ends: list[tuple[int, int]] = []
    pending = [(node, names)]
    while pending:
        at, known = pending.pop()
        if known.is_single:
            _follow(trie, at, known, groups, ends)
            continue
        if known.place >= 0 and (quote := trie.child(at, QUOTE)) >= 0:
            ends.append((quote, known.place))
        for byte, child in known.children.items():
            kid = trie.child(at, byte)
            if kid >= 0:
                groups.append((child.below, (kid,)))
                pending.append((kid, child))
    return NamePaths(tuple(groups), tuple(ends))


def name_ends(trie: TokenTrie, node: int, names: Trie) -> tuple[tuple[int, int], ...]:
    """Their `ends` alone."""
    if not names.is_single:
        return name_paths(trie, node, names).ends
    rest, place = names.single
    quote = trie.find(rest + _QUOTE, node)
    return () if quote < 0 else ((quote, place),)


def _follow(
    trie: TokenTrie,
    node: int,
    known: Trie,
    groups: list[tuple[tuple[int, ...], tuple[int, ...]]],
    ends: list[tuple[int, int]],
) -> None:
    """The same where only one name begins so."""
    rest, place = known.single
    nodes = list[int]()
    for byte in rest:
        kid = trie.child(node, byte)
        if kid < 0:
            break
        nodes.append(kid)
        node = kid
    else:
        quote = trie.child(node, QUOTE)
        if quote >= 0:
            ends.append((quote, place))
    if nodes:
        groups.append(((place,), tuple(nodes)))


class Paths:
    """The paths of one grammar's names; all are forgotten when they take too many bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._known: dict[tuple[TokenTrie, int, Trie], NamePaths] = {}
        self.num_bytes = 0

    def ends(self, trie: TokenTrie, node: int, names: Trie) -> tuple[tuple[int, int], ...]:
        """The same with only `ends`."""
        return name_ends(trie, node, names) if names.is_single else self.of(trie, node, names).ends

    def of(self, trie: TokenTrie, node: int, names: Trie) -> NamePaths:
        """The paths of the names of a trie, kept where there are several."""
        if names.is_single:
            return name_paths(trie, node, names)
        key = (trie, node, names)
        found = self._known.get(key)
        if found is None:
            found = name_paths(trie, node, names)
            self.num_bytes += found.num_bytes
            if self.num_bytes > self._most:
                self._known.clear()
                self.num_bytes = found.num_bytes
            self._known[key] = found
        return found
