"""A trie of byte strings in arrays; nodes in depth-first order, so that what lies below a node is a range.

Node 0 is the root; the nodes below v, v included, are v ... end[v] - 1. A walk by levels, for numpy and for a device,
uses `kids`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

FEW_NODES = 48
_CHILDLESS: dict[int, int] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The nodes of one depth: `kids`; the places of their parents among the `num_above` nodes above."""

    kids: np.ndarray
    parents: np.ndarray
    num_above: int


class TokenTrie:
    """Made of (bytes, id) pairs; several ids may have the same bytes.

    byte            uint8[nodes]      the byte that leads to a node; 0 for the root
    end             int32[nodes]      the first node behind those below
    first, tokens   int32[nodes + 1], int32[ids]
                    node v's ids are tokens[first[v] : first[v + 1]]; those at and below v are tokens[first[v] :
                    first[end[v]]]
    kid_first, kids int32[nodes + 1], int32[nodes - 1]
                    node v's children are kids[kid_first[v] : kid_first[v + 1]], by ascending byte
    parent          int32[nodes]      -1 for the root
    """

    def __init__(self, pairs: Iterable[tuple[bytes, int]]) -> None:
        ordered = sorted(pairs)
        byte, first, tokens = bytearray(1), [0], list[int]()
        parents, path = [-1], [0]  # path[k] is the node of the last text's first k bytes
        last = b""
        for text, token in ordered:
            if text != last:
                shared = common_length(last, text)
                del path[shared + 1 :]
                for value in text[shared:]:
                    first.append(len(tokens))
                    parents.append(path[-1])
                    path.append(len(byte))
                    byte.append(value)
                last = text
            tokens.append(token)
        self._freeze(byte, first, tokens, parents)

    def _freeze(self, byte: bytearray, first: list[int], tokens: list[int], parents: list[int]) -> None:
        num_nodes = len(byte)
        self.byte = np.frombuffer(bytes(byte), dtype=np.uint8)
        self.tokens = np.array(tokens, dtype=np.int32)
        self.first = np.array([*first, len(tokens)], dtype=np.int32)
        parent = self.parent = np.array(parents, dtype=np.int32)
        self.kids = (np.argsort(parent[1:], kind="stable") + 1).astype(np.int32)
        counts = np.bincount(parent[1:], minlength=num_nodes)
        self.kid_first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        self._first_view, self._tokens_view = self.first.data, self.tokens.data
        self._view_kids()
        end = list(range(1, num_nodes + 1))
        for node in range(num_nodes - 1, 0, -1):
            above = parents[node]
            end[above] = max(end[above], end[node])
        self.end = np.array(end, dtype=np.int32)
        self._children: dict[int, dict[int, int]] = {}

    def _view_kids(self) -> None:
        """Python reads single entries of memory faster than those of arrays."""
        self._kids_view, self._kid_first_view = self.kids.data, self.kid_first.data
        self._kid_bytes = self.byte[self.kids].tobytes()

    def __len__(self) -> int:
        return len(self.byte)

    def children(self, node: int) -> dict[int, int]:
        """A node's children by their bytes, in ascending order."""
        found = self._children.get(node)
        if found is None:
            first, last = self._kid_first_view[node], self._kid_first_view[node + 1]
            if first == last:
                return _CHILDLESS
            found = dict(zip(self._kid_bytes[first:last], self._kids_view[first:last], strict=True))
            self._children[node] = found
        return found

    def has_children(self, node: int) -> bool:
        """Whether any text goes on behind a node."""
        return self._kid_first_view[node] != self._kid_first_view[node + 1]

    def child(self, node: int, byte: int) -> int:
        """The node behind one more byte, -1 if there is none."""
        place = self._kid_bytes.find(byte, self._kid_first_view[node], self._kid_first_view[node + 1])
        return self._kids_view[place] if place >= 0 else -1

    def toward(self, nodes: np.ndarray) -> TokenTrie:
        """The same nodes with the same numbers, but as children only those on the way to some of them."""
        keep = np.zeros(len(self), dtype=np.bool_)
        while nodes.size:
            keep[nodes] = True
            above = np.unique(self.parent[nodes])
            nodes = above[(above >= 0) & ~keep[above]]
        found = TokenTrie.__new__(TokenTrie)
        found.__dict__.update(self.__dict__, depth=self.depth, place=self.place, _children={})
        found.__dict__.pop("_levels", None)
        found.kids = self.kids[keep[self.kids]]
        counts = np.bincount(self.parent[found.kids], minlength=len(self))
        found.kid_first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        found._view_kids()
        return found

    @cached_property
    def depth(self) -> np.ndarray:
        """int16[nodes]: how many bytes lead to a node."""
        found = np.zeros(len(self), dtype=np.int16)
        nodes = np.zeros(1, dtype=np.int32)
        while nodes.size:
            num = self.kid_first[nodes + 1] - self.kid_first[nodes]
            before = np.cumsum(num) - num
            above = np.repeat(np.arange(nodes.size), num)
            kids = self.kids[np.arange(above.size) + (self.kid_first[nodes] - before)[above]]
            found[kids] = found[nodes[above]] + 1
            nodes = kids
        return found

    @cached_property
    def place(self) -> np.ndarray:
        """int32[nodes]: how many smaller nodes have the same depth."""
        order = np.argsort(self.depth, kind="stable")
        sizes = np.bincount(self.depth)
        found = np.empty(len(self), dtype=np.int32)
        found[order] = np.arange(len(self)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return found

    @cached_property
    def _levels(self) -> list[Level]:
        kids = self.kids[np.argsort(self.depth[self.kids], kind="stable")]
        sizes = np.bincount(self.depth)
        ends = np.searchsorted(self.depth[kids], np.arange(sizes.size), side="right")
        parts = np.split(kids, ends)[1:]
        return [
            Level(part, self.place[self.parent[part]], above) for part, above in zip(parts, sizes.tolist(), strict=True)
        ]

    def level_below(self, nodes: np.ndarray) -> Level:
        """The level below some nodes of one depth."""
        return self._levels[int(self.depth[nodes[0]])]

    def at(self, node: int) -> np.ndarray:
        """The ids that end at a node."""
        return self.tokens[self.first[node] : self.first[node + 1]]

    def below(self, node: int) -> np.ndarray:
        """The ids that end at a node or below it."""
        return self.tokens[self.first[node] : self.first[self.end[node]]]

    def ids(self, nodes: np.ndarray) -> np.ndarray:
        """The ids that end at any of some nodes."""
        if nodes.size <= FEW_NODES:
            return np.array(self.ids_of(nodes.tolist()), dtype=np.int32)
        num = self.first[nodes + 1] - self.first[nodes]
        which = np.repeat(np.arange(nodes.size), num)
        before = np.cumsum(num) - num
        found: np.ndarray = self.tokens[np.arange(which.size) + (self.first[nodes] - before)[which]]
        return found

    def ids_of(self, nodes: Iterable[int]) -> list[int]:
        """The same for a few nodes: faster than arrays are."""
        first, tokens = self._first_view, self._tokens_view
        return [token for node in nodes for token in tokens[first[node] : first[node + 1]]]

    def find(self, text: bytes, node: int = 0) -> int:
        """The node of a text from a node on, -1 if there is none."""
        for value in text:
            node = self.child(node, value)
            if node < 0:
                break
        return node


def common_length(left: bytes, right: bytes) -> int:
    """The length of the common beginning of two texts, the left one not being the longer one's end."""
    for place, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return place
    return min(len(left), len(right))
