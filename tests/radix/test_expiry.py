"""State that is wanted until some time: it goes after other state, and no later than then."""

from __future__ import annotations

from espalier.radix import Node, PrefixTree, Root
from espalier.radix.expiry import Expiries
from tests.radix.model import Ids, evicted, found, ids

A, B = Root("a"), Root("b")


def put(tree: PrefixTree, root: Root, tokens: Ids, slots: Ids, now: float, expires: float | None = None) -> Node:
    end = put_unchecked(tree, root, tokens, slots, now, expires)
    tree.check()
    return end


def put_unchecked(
    tree: PrefixTree, root: Root, tokens: Ids, slots: Ids, now: float, expires: float | None = None
) -> Node:
    match = tree.match(root, tokens, now)
    tree.lock(match.node)
    have, more = len(match.slots), {} if expires is None else {"expires": expires}
    end = tree.insert(match.node, tokens[have:], slots[have:], now, **more).node
    tree.unlock(match.node)
    return end


def test_it_is_given_up_at_its_time_with_all_that_continues_it() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2), ids(0, 1), 0, expires=10)
    put(tree, A, ids(1, 2, 3), ids(0, 1, 2), 0, expires=10)
    assert tree.expire(9).tolist() == []
    assert sorted(tree.expire(10).tolist()) == [0, 1, 2]
    assert (tree.num_tokens, tree.statistics().num_tenants) == (0, 0)
    tree.check()


def test_it_goes_after_what_was_used_later_and_the_earliest_first() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2), ids(0, 1), 0, expires=200)
    put(tree, A, ids(5, 6), ids(2, 3), 1, expires=100)
    put(tree, A, ids(7, 8), ids(4, 5), 50)
    assert evicted(tree, 6) == [4, 5, 2, 3, 0, 1]


def test_a_tenants_share_goes_before_what_it_wants_to_keep() -> None:
    tree = PrefixTree(capacity=8)
    put(tree, A, ids(1, 2, 3, 4, 5, 6), ids(0, 1, 2, 3, 4, 5), 1, expires=100)
    put(tree, B, ids(1, 2), ids(6, 7), 1)
    assert evicted(tree, 2, "b") == [4, 5]


def test_a_later_time_holds_for_all_that_lies_above() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3, 4), ids(0, 1, 2, 3), 0, expires=10)
    put(tree, A, ids(1, 2, 9), ids(0, 1, 4), 5, expires=20)
    assert tree.expire(15).tolist() == [2, 3]
    assert found(tree, A, ids(1, 2, 9)) == [0, 1, 4]
    assert sorted(tree.expire(20).tolist()) == [0, 1, 4]


def test_what_others_keep_without_a_time_stays_and_is_no_more_than_theirs() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2, 3), ids(0, 1, 2), 0, expires=10)
    put(tree, A, ids(1, 2), ids(0, 1), 1)
    assert tree.expire(10).tolist() == [2]
    put(tree, A, ids(5), ids(5), 11)
    assert evicted(tree, 2) == [0, 1]


def test_a_time_binds_nothing_that_is_kept_without_one() -> None:
    tree = PrefixTree()
    put(tree, A, ids(1, 2), ids(0, 1), 0)
    put(tree, A, ids(1, 2, 3), ids(0, 1, 2), 1, expires=10)
    assert tree.expire(10).tolist() == [2]
    assert found(tree, A, ids(1, 2, 3)) == [0, 1]


def test_what_is_held_at_its_time_goes_when_it_is_let_go() -> None:
    tree = PrefixTree()
    end = put(tree, A, ids(1, 2), ids(0, 1), 0, expires=10)
    tree.lock(end)
    assert tree.expire(10).tolist() == []
    tree.unlock(end)
    assert tree.expire(10).tolist() == [0, 1]


def test_nodes_that_are_gone_are_not_held_until_their_time() -> None:
    tree, expiries = PrefixTree(ghost_tokens=0), Expiries()
    for number in range(5000):
        expiries.note(put_unchecked(tree, A, ids(number), ids(number), number, expires=100_000 + number))
        if number >= 100:
            tree.evict(1)
        assert expiries.num_notes <= 1001
    assert len(expiries.due(200_000)) == tree.num_tokens == 100


def test_a_node_that_gets_its_time_again_and_again_stays_noted_once() -> None:
    tree, expiries = PrefixTree(), Expiries()
    node = put_unchecked(tree, A, ids(1, 2), ids(0, 1), 0, expires=10)
    for number in range(5000):
        node.expires = 10 + number
        expiries.note(node)
        assert expiries.num_notes <= 1001
    assert expiries.due(5008) == []
    assert set(expiries.due(5009)) == {node}


def test_tidying_leaves_out_what_is_kept_for_good_by_now_and_nothing_else() -> None:
    tree, expiries = PrefixTree(), Expiries()
    nodes = [put_unchecked(tree, A, ids(number), ids(number), 0, expires=1000 + number) for number in range(2500)]
    for number, node in enumerate(nodes):
        expiries.note(node)
        if number % 2:
            put_unchecked(tree, A, ids(number), ids(number), 0)
    assert expiries.num_notes < 2500
    assert expiries.due(10_000) == nodes[::2]
