"""The prefix tree by hand, and against a dict of prefixes under random operations, invariants checked after each."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.radix import LeastValue, PrefixTree, RecomputeCost, Root
from tests.radix.model import Model, evicted, found, ids, put, run

A, B = Root("a"), Root("b")


def test_match_of_an_empty_tree_is_empty_and_leaves_nothing_behind() -> None:
    tree = PrefixTree()
    assert found(tree, A, ids(1, 2)) == []
    assert tree.num_tokens == 0
    tree.check()


def test_match_is_token_granular_and_splits_the_edge() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3, 4), ids(10, 11, 12, 13))
    assert found(tree, A, ids(1, 2, 9)) == [10, 11]
    assert found(tree, A, ids(1, 2, 3, 4, 5)) == [10, 11, 12, 13]
    tree.check()


def test_roots_never_share_prefixes() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2), ids(0, 1))
    assert found(tree, B, ids(1, 2)) == []


def test_insert_returns_the_slots_that_the_tree_already_had() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3), ids(0, 1, 2))
    top = tree.match(A, ids(), 0).node
    match = tree.insert(top, ids(1, 2, 7), ids(5, 6, 7), 1)
    assert [int(slot) for slot in match.slots] == [0, 1, 7]
    tree.check()


def test_an_edge_that_another_request_holds_stays_as_long_as_it_is() -> None:
    tree = PrefixTree()
    held = put(tree, A, ids(1, 2), ids(0, 1))
    tree.lock(held)
    tree.insert(tree.match(A, ids(), 0).node, ids(1, 2, 3), ids(8, 9, 2), 1)
    assert held.end == 2
    # So what its holder computes next lies behind its own tokens.
    tree.insert(held, ids(7), ids(5), 2)
    assert found(tree, A, ids(1, 2, 7)) == [0, 1, 5]
    assert found(tree, A, ids(1, 2, 3, 7)) == [0, 1, 2]
    tree.check()


def test_insert_below_a_node_that_only_the_caller_holds_lengthens_its_edge() -> None:
    tree = PrefixTree()
    end = put(tree, A, ids(1, 2), ids(0, 1))
    tree.lock(end)
    assert tree.insert(end, ids(3), ids(2), 1).node is end
    assert tree.num_evictable == 0
    tree.unlock(end)
    assert tree.num_evictable == 3
    tree.check()


@pytest.mark.parametrize("first", [range(9000), range(17999, 8999, -1)])
def test_an_edge_that_grows_is_cut_from_its_end_whatever_its_slots(first: range) -> None:
    tree = PrefixTree(ghost_tokens=0)
    end = put(tree, A, ids(*range(9000)), ids(*first))
    tree.lock(end)
    for begin in (9000, 18_000):
        assert tree.insert(end, ids(*range(begin, begin + 9000)), ids(*first) + 20_000 + begin, 1).node is end
    tree.unlock(end)
    path = np.concatenate((ids(*first), ids(*first) + 29_000, ids(*first) + 38_000))
    assert found(tree, A, ids(*range(27_000))) == path.tolist()
    for length in (20_000, 17_000, 500, 0):
        gone = tree.evict(tree.num_tokens - length)
        assert all(list(run.slots) == path[run.begin : run.begin + len(run.slots)].tolist() for run in gone)
        assert found(tree, A, ids(*range(27_000))) == path[:length].tolist()
        tree.check()


def test_an_edge_does_not_grow_to_a_length_that_is_slow_to_copy() -> None:
    tree = PrefixTree()
    end = put(tree, A, ids(*range(30_000)), ids(*range(30_000)))
    tree.lock(end)
    below = tree.insert(end, ids(*range(3000)), ids(*range(30_000, 33_000)), 1).node
    assert below.parent is end and end.end == 30_000
    tree.unlock(end)
    tree.check()


def test_a_locked_node_survives_a_split_above_it() -> None:
    tree = PrefixTree()
    end = put(tree, A, ids(1, 2, 3), ids(0, 1, 2))
    tree.lock(end)
    put(tree, A, ids(1, 9), ids(3, 4))
    tree.check()
    assert sorted(evicted(tree, 100)) == [4]
    tree.unlock(end)
    assert sorted(evicted(tree, 100)) == [0, 1, 2]
    assert tree.num_tokens == 0
    tree.check()


def test_evict_takes_the_least_recently_used_leaf_from_its_end() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3), ids(0, 1, 2), now=1)
    put(tree, A, ids(5, 6, 7), ids(3, 4, 5), now=2)
    found(tree, A, ids(1, 2, 3), now=3)
    assert evicted(tree, 2) == [4, 5]
    assert found(tree, A, ids(5, 6, 7), now=4) == [3]
    tree.check()


def test_evict_never_frees_a_locked_node() -> None:
    tree = PrefixTree()
    end = put(tree, A, ids(1, 2), ids(0, 1))
    tree.lock(end)
    assert len(tree.evict(10)) == 0
    tree.check()


def test_discard_gives_up_the_end_of_a_path_that_nobody_else_uses() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3, 4), ids(0, 1, 2, 3))
    end = tree.match(A, ids(1, 2, 3, 4), 1).node
    assert sorted(int(slot) for slot in tree.discard(end, 2)) == [2, 3]
    assert found(tree, A, ids(1, 2, 3, 4)) == [0, 1]
    tree.check()


def test_discard_stops_at_what_another_holds() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3), ids(0, 1, 2))
    other = put(tree, A, ids(1, 2, 8), ids(4, 5, 3))
    tree.lock(other)
    end = tree.match(A, ids(1, 2, 3), 1).node
    assert sorted(int(slot) for slot in tree.discard(end, 3)) == [2]
    tree.unlock(other)
    tree.check()


def test_a_leaf_that_is_used_again_and_again_takes_no_more_room() -> None:
    tree = PrefixTree()
    end = put(tree, A, ids(1, 2), ids(0, 1))
    for _ in range(1000):
        tree.lock(end)
        tree.unlock(end)
    assert tree.shares.accounts["a"].num_offers <= 1
    assert sorted(evicted(tree, 9)) == [0, 1]


def test_nodes_that_are_gone_take_no_room() -> None:
    tree = PrefixTree()
    keep = put(tree, A, ids(7, 7), ids(0, 1))
    tree.lock(keep)
    for number in range(5000):
        put(tree, A, ids(number + 10, 1), ids(2, 3), now=number)
        tree.forget(A, ids(number + 10, 1), number)
    assert tree.shares.accounts["a"].num_offers <= 1001
    tree.check()
    tree.unlock(keep)
    tree.check()
    assert evicted(tree, 9) == [0, 1]


def test_prune_gives_up_all_that_hangs_on_a_token_but_what_is_held() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3, 4), ids(0, 1, 2, 3))
    put(tree, A, ids(1, 2, 3, 5), ids(0, 1, 2, 4))
    put(tree, A, ids(1, 9), ids(0, 5))
    assert sorted(tree.prune(A, ids(1, 2), 1).tolist()) == [1, 2, 3, 4]
    assert found(tree, A, ids(1, 9)) == [0, 5]
    tree.check()
    held = put(tree, A, ids(1, 9, 7), ids(0, 5, 6))
    tree.lock(held)
    assert tree.prune(A, ids(1, 9), 1).tolist() == []
    assert tree.prune(A, ids(3, 3), 1).tolist() == []
    tree.unlock(held)
    assert sorted(tree.prune(A, ids(1), 1).tolist()) == [0, 5, 6]
    assert tree.num_tokens == 0
    tree.check()


@pytest.mark.parametrize("ghost_tokens", [0, 20, 10**6])
@pytest.mark.parametrize("seed", range(4))
def test_random_operations_agree_with_a_dict_of_prefixes(seed: int, ghost_tokens: int) -> None:
    policy = LeastValue(RecomputeCost(0.01, 1e-3, 1e-3), half_life_s=5) if seed % 2 else None
    for model in run(Model(seed, 40, ghost_tokens=ghost_tokens, policy=policy), 400):
        model.check()


# Where no ghost is forgotten the tree grows for ever, and each check with it: one life of half a million takes hours.
@pytest.mark.slow
@pytest.mark.parametrize(("ghost_tokens", "lives"), [(20, 1), (10**6, 50)])
def test_a_million_random_operations_agree_with_a_dict_of_prefixes(ghost_tokens: int, lives: int) -> None:
    for seed in range(99, 99 + lives):
        for model in run(Model(seed, 60, ghost_tokens=ghost_tokens), 500_000 // lives):
            model.check()
