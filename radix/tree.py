"""The prefix tree: a compressed tree over token ids whose edges hold the KV slots of their tokens.

It owns every slot that was inserted, until `evict` or `discard` hands it back. One root for each key (tenant and
salt): prefixes never cross roots. Time is an argument. Invariant: a node's locks are the holders of it and of
everything below.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from itertools import count
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[np.int32]
Root: TypeAlias = Hashable

_EMPTY: Ids = np.empty(0, dtype=np.int32)


def common_prefix_len(a: Ids, b: Ids) -> int:
    """Length of the longest common prefix; one vector comparison."""
    n = min(len(a), len(b))
    differs = a[:n] != b[:n]
    at = int(differs.argmax()) if n else 0
    return at if n and differs[at] else n


class Node:
    """The end of an edge; `token_ids` and `slots` are those of the edge."""

    __slots__ = ("children", "is_offered", "last_used", "locks", "parent", "slots", "token_ids")

    def __init__(self, parent: Node | None, token_ids: Ids, slots: Ids, last_used: int) -> None:
        self.parent, self.token_ids, self.slots, self.last_used = parent, token_ids, slots, last_used
        self.children: dict[int, Node] = {}
        self.locks = 0
        self.is_offered = False

    def path(self) -> Iterator[Node]:
        """This node and all above it, the root included."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent


class _Top(Node):
    """The root of a key; dropped when nothing is below it and nobody holds it."""

    __slots__ = ("key",)

    def __init__(self, key: Root, last_used: int) -> None:
        super().__init__(None, _EMPTY, _EMPTY, last_used)
        self.key = key


class Match(NamedTuple):
    """A prefix in the tree: the node where it ends and the slots of its tokens."""

    node: Node
    slots: Ids


class PrefixTree:
    """See the module. `num_tokens` are all tokens held, `num_evictable` those that no lock protects."""

    def __init__(self) -> None:
        self.num_tokens = 0
        self.num_evictable = 0
        self._roots: dict[Root, _Top] = {}
        self._heap: list[tuple[int, int, Node]] = []
        self._ticket = count()

    def match(self, root: Root, token_ids: Ids, now: int) -> Match:
        """The longest prefix of `token_ids` in the tree, token-granular: an edge that matches in part is split.

        The caller locks the node before anything else happens to the tree.
        """
        parts: list[Ids] = []
        top = self._roots.setdefault(root, _Top(root, now))
        node, _ = self._descend(top, token_ids, now, parts)
        return Match(node, np.concatenate(parts) if parts else _EMPTY)

    def insert(self, node: Node, token_ids: Ids, slots: Ids, now: int) -> Match:
        """Insert a run below `node`; returns its end and the slots that the tree holds for the run.

        Where the tree already had a token, the slot returned differs from the one given, which stays the caller's.
        """
        parts: list[Ids] = []
        end, matched = self._descend(node, token_ids, now, parts)
        if matched < len(token_ids):
            rest, rest_slots = token_ids[matched:], slots[matched:]
            if end is node and self._may_grow(end):
                end.token_ids = np.concatenate((end.token_ids, rest))
                end.slots = np.concatenate((end.slots, rest_slots))
            else:
                child = Node(end, rest.copy(), rest_slots.copy(), now)
                end.children[int(rest[0])] = child
                self.num_evictable += len(rest)
                end = child
                self._offer(child)
            self.num_tokens += len(rest)
            parts.append(rest_slots)
        return Match(end, np.concatenate(parts) if parts else _EMPTY)

    def lock(self, node: Node) -> None:
        """Protect a node and all above it from eviction."""
        for above in node.path():
            if above.locks == 0:
                self.num_evictable -= len(above.token_ids)
            above.locks += 1

    def unlock(self, node: Node) -> None:
        """Undo one `lock` of this node."""
        for above in node.path():
            assert above.locks > 0, "unlock without lock"
            above.locks -= 1
            if above.locks == 0:
                self.num_evictable += len(above.token_ids)
                self._offer(above)

    def evict(self, num_slots: int) -> Ids:
        """Give up at most `num_slots` slots, least recently used leaves first, from their ends."""
        freed: list[Ids] = []
        wanted = num_slots
        while wanted > 0 and self._heap:
            stamp, _, node = heapq.heappop(self._heap)
            node.is_offered = False
            if not self._is_evictable(node):
                continue
            if stamp != node.last_used:
                self._offer(node)
                continue
            cut = self._cut_end(node, wanted)
            freed.append(cut)
            wanted -= len(cut)
        return np.concatenate(freed) if freed else _EMPTY

    def discard(self, node: Node, num_tokens: int) -> Ids:
        """Give up the last `num_tokens` of the path to `node`, as far as nobody else holds or continues them.

        For state that must not be used again. The caller has unlocked `node`.
        """
        freed: list[Ids] = []
        current: Node | None = node
        while num_tokens > 0 and current is not None and self._is_evictable(current):
            above = current.parent
            cut = self._cut_end(current, num_tokens)
            freed.append(cut)
            num_tokens -= len(cut)
            current = above
        return np.concatenate(freed) if freed else _EMPTY

    @property
    def num_offers(self) -> int:
        """Leaves noted for eviction, those among them that were used or went since; at most one for each node."""
        return len(self._heap)

    def slots(self) -> Ids:
        """All slots held."""
        return np.concatenate([node.slots for node in self._nodes()] or [_EMPTY])

    def check(self) -> None:
        """Raise AssertionError if an invariant does not hold."""
        total = evictable = 0
        for root in self._roots.values():
            assert root.parent is None and not len(root.token_ids)
        for node in self._nodes():
            assert len(node.token_ids) == len(node.slots)
            assert node.parent is None or len(node.token_ids) > 0, "an empty edge"
            for first, child in node.children.items():
                assert child.parent is node and int(child.token_ids[0]) == first
            assert node.locks >= max((child.locks for child in node.children.values()), default=0)
            assert node.locks >= sum(child.locks for child in node.children.values())
            total += len(node.token_ids)
            evictable += len(node.token_ids) if node.locks == 0 else 0
        slots = self.slots()
        assert len(np.unique(slots)) == len(slots), "a slot lies twice in the tree"
        assert (total, evictable) == (self.num_tokens, self.num_evictable)
        offered = {id(node) for _, _, node in self._heap}
        for node in self._nodes():
            assert id(node) in offered or not self._is_evictable(node), "an evictable leaf was never offered"

    def _nodes(self) -> Iterator[Node]:
        stack: list[Node] = list(self._roots.values())
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    def _descend(self, node: Node, token_ids: Ids, now: int, parts: list[Ids]) -> tuple[Node, int]:
        matched = 0
        for above in node.path():
            above.last_used = now
        while matched < len(token_ids):
            child = node.children.get(int(token_ids[matched]))
            if child is None:
                break
            shared = common_prefix_len(child.token_ids, token_ids[matched:])
            if shared < len(child.token_ids):
                child = self._split(child, shared)
            child.last_used = now
            parts.append(child.slots)
            matched += shared
            node = child
        return node, matched

    def _split(self, node: Node, at: int) -> Node:
        """Put a node above `node` that takes the first `at` tokens of its edge; `node` stays the end it was."""
        assert node.parent is not None
        upper = Node(node.parent, node.token_ids[:at].copy(), node.slots[:at].copy(), node.last_used)
        upper.locks = node.locks
        upper.children[int(node.token_ids[at])] = node
        node.parent.children[int(node.token_ids[0])] = upper
        node.token_ids, node.slots, node.parent = node.token_ids[at:].copy(), node.slots[at:].copy(), upper
        return upper

    def _may_grow(self, node: Node) -> bool:
        # One holder, who is the caller, and nothing below: nobody sees the edge change.
        return node.parent is not None and not node.children and node.locks == 1

    def _is_evictable(self, node: Node) -> bool:
        alive = node.parent is not None and node.parent.children.get(int(node.token_ids[0])) is node
        return alive and not node.children and node.locks == 0

    def _offer(self, node: Node) -> None:
        """Note that a node may have become free to go: a leaf for eviction, an empty root at once."""
        if node.children or node.locks:
            return
        if isinstance(node, _Top):
            self._roots.pop(node.key, None)
        elif not node.is_offered:
            # Once: a leaf that is used again and again is not offered again and again.
            node.is_offered = True
            heapq.heappush(self._heap, (node.last_used, next(self._ticket), node))

    def _cut_end(self, node: Node, num_tokens: int) -> Ids:
        keep = max(0, len(node.token_ids) - num_tokens)
        cut = node.slots[keep:]
        self.num_tokens -= len(cut)
        self.num_evictable -= len(cut)
        if keep:
            node.token_ids, node.slots = node.token_ids[:keep].copy(), node.slots[:keep].copy()
            self._offer(node)
            return cut
        parent = node.parent
        assert parent is not None
        del parent.children[int(node.token_ids[0])]
        node.parent = None
        self._offer(parent)
        return cut
