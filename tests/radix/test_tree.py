"""The prefix tree against a plain dict of prefixes, under random operations, every invariant checked after each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from espalier.radix import Node, PrefixTree
from espalier.radix.tree import common_prefix_len

Ids = NDArray[np.int32]


def ids(*values: int) -> Ids:
    return np.array(values, dtype=np.int32)


def put(tree: PrefixTree, root: str, tokens: Ids, slots: Ids, now: int = 0) -> Node:
    top = tree.match(root, tokens[:0], now).node
    tree.lock(top)
    end = tree.insert(top, tokens, slots, now).node
    tree.unlock(top)
    return end


def found(tree: PrefixTree, root: str, tokens: Ids, now: int = 0) -> list[int]:
    match = tree.match(root, tokens, now)
    tree.lock(match.node)
    tree.unlock(match.node)
    return [int(slot) for slot in match.slots]


@pytest.mark.parametrize(
    ("a", "b", "length"),
    [((), (), 0), ((1,), (), 0), ((1, 2), (1, 2), 2), ((1, 2, 3), (1, 2), 2), ((1, 2), (1, 3), 1), ((2,), (1,), 0)],
)
def test_common_prefix_len_counts_equal_tokens(a: tuple[int, ...], b: tuple[int, ...], length: int) -> None:
    assert common_prefix_len(ids(*a), ids(*b)) == length


def test_match_of_an_empty_tree_is_empty_and_leaves_nothing_behind() -> None:
    tree = PrefixTree()
    assert found(tree, "a", ids(1, 2)) == []
    assert tree.num_tokens == 0
    tree.check()


def test_match_is_token_granular_and_splits_the_edge() -> None:
    tree = PrefixTree()
    put(tree, "a", ids(1, 2, 3, 4), ids(10, 11, 12, 13))
    assert found(tree, "a", ids(1, 2, 9)) == [10, 11]
    assert found(tree, "a", ids(1, 2, 3, 4, 5)) == [10, 11, 12, 13]
    tree.check()


def test_roots_never_share_prefixes() -> None:
    tree = PrefixTree()
    put(tree, "a", ids(1, 2), ids(0, 1))
    assert found(tree, "b", ids(1, 2)) == []


def test_insert_returns_the_slots_that_the_tree_already_had() -> None:
    tree = PrefixTree()
    put(tree, "a", ids(1, 2, 3), ids(0, 1, 2))
    top = tree.match("a", ids(), 0).node
    match = tree.insert(top, ids(1, 2, 7), ids(5, 6, 7), 1)
    assert [int(slot) for slot in match.slots] == [0, 1, 7]
    tree.check()


def test_insert_below_a_node_that_only_the_caller_holds_lengthens_its_edge() -> None:
    tree = PrefixTree()
    end = put(tree, "a", ids(1, 2), ids(0, 1))
    tree.lock(end)
    assert tree.insert(end, ids(3), ids(2), 1).node is end
    assert tree.num_evictable == 0
    tree.unlock(end)
    assert tree.num_evictable == 3
    tree.check()


def test_a_locked_node_survives_a_split_above_it() -> None:
    tree = PrefixTree()
    end = put(tree, "a", ids(1, 2, 3), ids(0, 1, 2))
    tree.lock(end)
    put(tree, "a", ids(1, 9), ids(3, 4))
    tree.check()
    assert sorted(int(slot) for slot in tree.evict(100)) == [4]
    tree.unlock(end)
    assert sorted(int(slot) for slot in tree.evict(100)) == [0, 1, 2]
    assert tree.num_tokens == 0
    tree.check()


def test_evict_takes_the_least_recently_used_leaf_from_its_end() -> None:
    tree = PrefixTree()
    put(tree, "a", ids(1, 2, 3), ids(0, 1, 2), now=1)
    put(tree, "a", ids(5, 6, 7), ids(3, 4, 5), now=2)
    found(tree, "a", ids(1, 2, 3), now=3)
    assert [int(slot) for slot in tree.evict(2)] == [4, 5]
    assert found(tree, "a", ids(5, 6, 7), now=4) == [3]
    tree.check()


def test_evict_never_frees_a_locked_node() -> None:
    tree = PrefixTree()
    end = put(tree, "a", ids(1, 2), ids(0, 1))
    tree.lock(end)
    assert len(tree.evict(10)) == 0
    tree.check()


def test_discard_gives_up_the_end_of_a_path_that_nobody_else_uses() -> None:
    tree = PrefixTree()
    put(tree, "a", ids(1, 2, 3, 4), ids(0, 1, 2, 3))
    end = tree.match("a", ids(1, 2, 3, 4), 1).node
    assert sorted(int(slot) for slot in tree.discard(end, 2)) == [2, 3]
    assert found(tree, "a", ids(1, 2, 3, 4)) == [0, 1]
    tree.check()


def test_discard_stops_at_what_another_holds() -> None:
    tree = PrefixTree()
    put(tree, "a", ids(1, 2, 3), ids(0, 1, 2))
    other = put(tree, "a", ids(1, 2, 8), ids(4, 5, 3))
    tree.lock(other)
    end = tree.match("a", ids(1, 2, 3), 1).node
    assert sorted(int(slot) for slot in tree.discard(end, 3)) == [2]
    tree.unlock(other)
    tree.check()


def test_a_leaf_that_is_used_again_and_again_takes_no_more_room() -> None:
    tree = PrefixTree()
    end = put(tree, "a", ids(1, 2), ids(0, 1))
    for _ in range(1000):
        tree.lock(end)
        tree.unlock(end)
    assert tree.num_offers <= 1
    assert sorted(int(slot) for slot in tree.evict(9)) == [0, 1]


class Model:
    """What the tree should hold: every prefix with its slot, and who holds which."""

    def __init__(self, rng: Generator, num_slots: int) -> None:
        self.rng, self.tree = rng, PrefixTree()
        self.prefixes: dict[tuple[str, tuple[int, ...]], int] = {}
        self.free = list(range(num_slots))
        self.held: list[tuple[Node, str, tuple[int, ...]]] = []

    def tokens(self) -> Ids:
        return self.rng.integers(0, 3, size=self.rng.integers(0, 12)).astype(np.int32)

    def expected(self, root: str, tokens: Ids) -> list[int]:
        slots: list[int] = []
        for end in range(1, len(tokens) + 1):
            slot = self.prefixes.get((root, tuple(int(t) for t in tokens[:end])))
            if slot is None:
                break
            slots.append(slot)
        return slots

    def insert(self, now: int) -> None:
        root, tokens = str(self.rng.integers(2)), self.tokens()
        match = self.tree.match(root, tokens, now)
        assert [int(s) for s in match.slots] == self.expected(root, tokens)
        self.tree.lock(match.node)
        have = len(match.slots)
        need = len(tokens) - have
        if need > len(self.free):
            self.forget(self.tree.evict(need - len(self.free)))
        if need <= len(self.free):
            slots = [self.free.pop() for _ in range(need)]
            end = self.tree.insert(match.node, tokens[have:], ids(*slots), now).node
            for at, slot in enumerate(slots, have + 1):
                self.prefixes[root, tuple(int(t) for t in tokens[:at])] = slot
            self.tree.lock(end)
            self.held.append((end, root, tuple(int(t) for t in tokens)))
        self.tree.unlock(match.node)

    def release(self) -> None:
        if self.held:
            node, _, _ = self.held.pop(int(self.rng.integers(len(self.held))))
            self.tree.unlock(node)

    def forget(self, slots: Ids) -> None:
        gone = {int(slot) for slot in slots}
        self.prefixes = {key: slot for key, slot in self.prefixes.items() if slot not in gone}
        self.free += sorted(gone)

    def check(self) -> None:
        self.tree.check()
        assert sorted(int(s) for s in self.tree.slots()) == sorted(self.prefixes.values())
        for _, root, tokens in self.held:
            assert len(self.expected(root, ids(*tokens))) == len(tokens), "a held prefix is gone"


def run(seed: int, operations: int, num_slots: int) -> Iterator[Model]:
    model = Model(np.random.default_rng(seed), num_slots)
    for now in range(operations):
        choice = model.rng.random()
        if choice < 0.5:
            model.insert(now)
        elif choice < 0.9:
            model.release()
        else:
            model.forget(model.tree.evict(int(model.rng.integers(1, 8))))
        yield model


@pytest.mark.parametrize("seed", range(8))
def test_random_operations_agree_with_a_dict_of_prefixes(seed: int) -> None:
    for model in run(seed, 400, num_slots=40):
        model.check()


@pytest.mark.slow
def test_many_random_operations_agree_with_a_dict_of_prefixes() -> None:
    for model in run(99, 200_000, num_slots=60):
        model.check()
