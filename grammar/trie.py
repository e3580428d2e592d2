"""A trie of byte strings in arrays; nodes in depth-first order, so that what lies below a node is a range.

Node 0 is the root; the nodes below v, v included, are v ... end[v] - 1. A walk by levels, for numpy and for a device,
uses `kids`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class TokenTrie:
    """Made of (bytes, id) pairs; several ids may have the same bytes.

    byte            uint8[nodes]      the byte that leads to a node; 0 for the root
    end             int32[nodes]      the first node behind those below
    first, tokens   int32[nodes + 1], int32[ids]
                    node v's ids are tokens[first[v] : first[v + 1]]; those at and below v are tokens[first[v] :
                    first[end[v]]]
    kid_first, kids int32[nodes + 1], int32[nodes - 1]
                    node v's children are kids[kid_first[v] : kid_first[v + 1]], by ascending byte
    """

    def __init__(self, pairs: Iterable[tuple[bytes, int]]) -> None:
        ordered = sorted(pairs)
        byte, first, tokens = bytearray(1), [0], list[int]()
        parents, path = [-1], [0]  # path[k] is the node of the last text's first k bytes
        last = b""
        for text, token in ordered:
            if text != last:
                shared = _common(last, text)
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
        parent = np.array(parents, dtype=np.int32)
        self.kids = (np.argsort(parent[1:], kind="stable") + 1).astype(np.int32)
        counts = np.bincount(parent[1:], minlength=num_nodes)
        self.kid_first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        end = list(range(1, num_nodes + 1))
        for node in range(num_nodes - 1, 0, -1):
            above = parents[node]
            end[above] = max(end[above], end[node])
        self.end = np.array(end, dtype=np.int32)
        self._children: dict[int, dict[int, int]] = {}

    def __len__(self) -> int:
        return len(self.byte)

    def children(self, node: int) -> dict[int, int]:
        """A node's children by their bytes, in ascending order."""
        found = self._children.get(node)
        if found is None:
            kids = self.kids[self.kid_first[node] : self.kid_first[node + 1]]
            found = self._children[node] = dict(zip(self.byte[kids].tolist(), kids.tolist(), strict=True))
        return found

    def at(self, node: int) -> np.ndarray:
        """The ids that end at a node."""
        return self.tokens[self.first[node] : self.first[node + 1]]

    def below(self, node: int) -> np.ndarray:
        """The ids that end at a node or below it."""
        return self.tokens[self.first[node] : self.first[self.end[node]]]

    def ids(self, nodes: np.ndarray) -> np.ndarray:
        """The ids that end at any of some nodes."""
        num = self.first[nodes + 1] - self.first[nodes]
        which = np.repeat(np.arange(nodes.size), num)
        before = np.cumsum(num) - num
        found: np.ndarray = self.tokens[np.arange(which.size) + (self.first[nodes] - before)[which]]
        return found

    def find(self, text: bytes, node: int = 0) -> int:
        """The node of a text from a node on, -1 if there is none."""
        for value in text:
            node = self.children(node).get(value, -1)
            if node < 0:
                break
        return node


def _common(left: bytes, right: bytes) -> int:
    """The length of the common beginning of two texts, the left one not being the longer one's end."""
    for place, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return place
    return min(len(left), len(right))
