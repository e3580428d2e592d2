"""Why a prefix missed: what was there once, within a bound, and never of another root."""

from __future__ import annotations

from espalier.radix import PrefixTree, Root
from tests.radix.model import evicted, found, ids, put

A, SALTED, B = Root("a"), Root("a", "salt"), Root("b")


def num_evicted(tree: PrefixTree, root: Root, *tokens: int) -> tuple[int, int]:
    match = tree.match(root, ids(*tokens), 9)
    tree.lock(match.node)
    tree.unlock(match.node)
    return len(match.slots), match.num_evicted


def test_a_match_says_how_many_of_the_tokens_behind_it_were_evicted() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3, 4), ids(0, 1, 2, 3))
    assert evicted(tree, 3) == [1, 2, 3]
    assert num_evicted(tree, A, 1, 2, 3, 9) == (1, 2)
    assert num_evicted(tree, A, 1, 2, 3, 4, 5) == (1, 3)
    assert num_evicted(tree, A, 1, 9) == (1, 0)
    tree.check()


def test_what_was_evicted_is_told_across_nodes() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3, 4), ids(0, 1, 2, 3))
    put(tree, A, ids(1, 2, 8), ids(4, 5, 6))
    evicted(tree, 9)
    assert num_evicted(tree, A, 1, 2, 3, 4) == (0, 4)
    assert num_evicted(tree, A, 1, 2, 8, 8) == (0, 3)
    tree.check()


def test_nothing_is_told_of_another_tenant_or_salt() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3), ids(0, 1, 2))
    evicted(tree, 2)
    assert num_evicted(tree, B, 1, 2, 3) == (0, 0)
    assert num_evicted(tree, SALTED, 1, 2, 3) == (0, 0)


def test_what_is_computed_again_has_its_slots_again() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3, 4), ids(0, 1, 2, 3))
    evicted(tree, 3)
    put(tree, A, ids(1, 2, 3, 9), ids(0, 5, 6, 7))
    assert found(tree, A, ids(1, 2, 3, 9)) == [0, 5, 6, 7]
    assert num_evicted(tree, A, 1, 2, 3, 4) == (3, 1)
    tree.check()


def test_ghosts_are_forgotten_over_their_bound_the_longest_gone_first() -> None:
    tree = PrefixTree(ghost_tokens=3)
    put(tree, A, ids(1, 2, 3), ids(0, 1, 2), now=1)
    put(tree, A, ids(5, 6, 7), ids(3, 4, 5), now=2)
    evicted(tree, 6)
    evicted(tree, 0)
    assert tree.ghosts.num_tokens == 3
    assert num_evicted(tree, A, 1, 2, 3) == (0, 0)
    assert num_evicted(tree, A, 5, 6, 7) == (0, 3)
    tree.check()


def test_the_tenant_with_the_most_ghosts_gives_up_its_own() -> None:
    tree = PrefixTree(ghost_tokens=6)
    put(tree, A, ids(1, 2), ids(0, 1), now=1)
    put(tree, B, ids(1, 2, 3, 4), ids(2, 3, 4, 5), now=2)
    put(tree, B, ids(7, 7), ids(6, 7), now=3)
    evicted(tree, 8)
    evicted(tree, 0)
    assert num_evicted(tree, A, 1, 2) == (0, 2)
    assert num_evicted(tree, B, 1, 2, 3, 4) == (0, 0)


def test_a_forgotten_path_leaves_neither_slots_nor_ids() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3, 4, 5), ids(0, 1, 2, 3, 4))
    put(tree, A, ids(1, 2, 8), ids(9, 9, 5))
    evicted(tree, 2, None)
    assert sorted(tree.forget(A, ids(1, 2, 3, 4, 5), 9).tolist()) == [2]
    assert num_evicted(tree, A, 1, 2, 3, 4, 5) == (2, 0)
    assert found(tree, A, ids(1, 2, 8)) == [0, 1, 5]
    tree.check()
    assert sorted(tree.forget(A, ids(1, 2, 8), 9).tolist()) == [0, 1, 5]
    assert tree.statistics().num_tenants == 0
    tree.check()
