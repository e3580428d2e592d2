"""Leases and tips by hand; random operations on them are in test_tree."""

from __future__ import annotations

import pytest

from espalier.radix import Lease, LeaseBudget, LeaseTable, Node, PrefixTree, Root
from espalier.radix.account import Account
from espalier.radix.lease import STINT
from tests.radix.model import evicted, found, ids, put

A, B = Root("a"), Root("b")


def a_lease(session: str, node: Node, **changes: object) -> Lease:
    chosen: dict[str, object] = {"expires": 100.0, "expected": 10.0, "worth_s": 1.0}
    return Lease(session, node, node.root(), **(chosen | changes))  # type: ignore[arg-type]


def a_table(total: int = 100, tenant: int = 100) -> tuple[PrefixTree, LeaseTable]:
    tree = PrefixTree()
    return tree, LeaseTable(tree, LeaseBudget(total, tenant))


def test_evict_never_frees_a_leased_node() -> None:
    tree, table = a_table()
    end = put(tree, A, ids(1, 2, 3), ids(0, 1, 2))
    put(tree, A, ids(1, 7), ids(0, 3))
    assert table.lease(a_lease("s", end), 0) == ()
    assert evicted(tree, 10) == [3]
    table.release("s")
    assert sorted(evicted(tree, 10)) == [0, 1, 2]
    tree.check()


def test_a_lease_ends_at_its_expiry() -> None:
    tree, table = a_table()
    table.lease(a_lease("s", put(tree, A, ids(1), ids(0)), expires=5), 0)
    table.lease(a_lease("t", put(tree, A, ids(2), ids(1)), expires=7), 0)
    assert table.expire(4.9) == ()
    assert [lease.session for lease in table.expire(5)] == ["s"]
    assert table.renew("t", 20, 15)
    assert table.expire(19) == ()
    assert not table.renew("s", 20, 15)
    assert evicted(tree, 9) == [0]


def test_a_lease_that_is_over_when_it_is_taken_protects_nothing() -> None:
    tree, table = a_table()
    end = put(tree, A, ids(1), ids(0))
    assert table.lease(a_lease("s", end, expires=3), 3) == ()
    assert table.tip("s") is end
    assert evicted(tree, 9) == [0]


def test_over_the_budget_the_least_valuable_lease_is_demoted() -> None:
    tree, table = a_table(total=5)
    soon = put(tree, A, ids(1, 2), ids(0, 1))
    late = put(tree, A, ids(3, 4), ids(2, 3))
    new = put(tree, A, ids(5, 6), ids(4, 5))
    table.lease(a_lease("soon", soon, expected=5.0), 0)
    table.lease(a_lease("late", late, expected=50.0), 0)
    assert [lease.session for lease in table.lease(a_lease("new", new), 0)] == ["late"]
    assert sorted(evicted(tree, 9)) == [2, 3]


def test_a_higher_priority_stays_whatever_its_value() -> None:
    tree, table = a_table(total=2)
    first = put(tree, A, ids(1, 2), ids(0, 1))
    table.lease(a_lease("first", first, priority=1, worth_s=0.0), 0)
    demoted = table.lease(a_lease("second", put(tree, A, ids(3, 4), ids(2, 3))), 0)
    assert [lease.session for lease in demoted] == ["second"]


def test_a_lease_longer_than_the_budget_is_not_held() -> None:
    tree, table = a_table(total=2)
    demoted = table.lease(a_lease("s", put(tree, A, ids(1, 2, 3), ids(0, 1, 2))), 0)
    assert [lease.session for lease in demoted] == ["s"]
    assert (tree.num_leased, len(table)) == (0, 0)


def test_a_prefix_that_two_sessions_share_counts_once() -> None:
    tree, table = a_table(total=4)
    one = put(tree, A, ids(1, 2, 3), ids(0, 1, 2))
    other = put(tree, A, ids(1, 2, 4), ids(0, 1, 3))
    table.lease(a_lease("one", one), 0)
    assert table.lease(a_lease("other", other), 0) == ()
    assert tree.num_leased == 4


def test_a_tenants_leases_demote_its_own_within_its_budget() -> None:
    tree, table = a_table(total=100, tenant=2)
    table.lease(a_lease("b", put(tree, B, ids(1, 2), ids(8, 9)), worth_s=0.0), 0)
    table.lease(a_lease("a", put(tree, A, ids(1, 2), ids(0, 1)), worth_s=0.5), 0)
    demoted = table.lease(a_lease("a2", put(tree, A, ids(3, 4), ids(2, 3))), 0)
    assert [lease.session for lease in demoted] == ["a"]


def test_one_tenants_leases_do_not_demote_what_another_has_within_its_share() -> None:
    tree, table = a_table(total=4, tenant=4)
    table.lease(a_lease("b", put(tree, B, ids(1, 2), ids(8, 9)), worth_s=0.0), 0)
    table.lease(a_lease("a", put(tree, A, ids(1, 2), ids(0, 1)), priority=9), 0)
    demoted = table.lease(a_lease("a2", put(tree, A, ids(3, 4), ids(2, 3)), priority=9), 0)
    assert all(lease.session != "b" for lease in demoted)
    assert table.of("b") is not None


def test_only_the_newest_tip_is_protected_and_what_was_left_goes_first() -> None:
    tree, table = a_table()
    old = put(tree, A, ids(1, 2, 3), ids(0, 1, 2), now=8)
    put(tree, A, ids(9), ids(5), now=2)
    table.lease(a_lease("s", old), 0)
    new = put(tree, A, ids(1, 2, 4), ids(0, 1, 3), now=3)
    table.lease(a_lease("s", new), 0)
    assert table.tip("s") is new
    assert [node.leases for node in new.path()] == [1, 1, 1]
    assert evicted(tree, 1) == [2]
    assert evicted(tree, 9) == [5]


def test_a_turn_that_goes_on_abandons_nothing() -> None:
    tree, table = a_table()
    table.lease(a_lease("s", put(tree, A, ids(1, 2), ids(0, 1), now=1)), 0)
    longer = put(tree, A, ids(1, 2, 3), ids(0, 1, 2), now=1)
    put(tree, A, ids(9), ids(5), now=0)
    table.advance("s", longer)
    assert evicted(tree, 1) == [5]


def test_a_fork_protects_what_its_other_abandons() -> None:
    tree, table = a_table()
    tip = put(tree, A, ids(1, 2, 3), ids(0, 1, 2), now=1)
    table.advance("s", tip)
    table.fork("s", "f")
    put(tree, A, ids(7), ids(3), now=0)
    table.advance("s", put(tree, A, ids(1, 5), ids(0, 4), now=2))
    assert table.tip("f") is tip
    assert evicted(tree, 1) == [3]


def test_what_a_dropped_session_had_goes_first_unless_it_is_used_again() -> None:
    tree, table = a_table()
    for name, token, now in (("s", 1, 5), ("t", 2, 6)):
        table.lease(a_lease(name, put(tree, A, ids(token, 9), ids(token, token + 10), now=now)), 0)
        table.drop(name)
    put(tree, A, ids(3), ids(3), now=1)
    found(tree, A, ids(2, 9), now=7)
    assert evicted(tree, 2) == [1, 11]
    assert evicted(tree, 1) == [3]
    assert table.tip("s") is None


def test_a_tip_whose_state_is_evicted_is_gone() -> None:
    tree, table = a_table()
    table.advance("s", put(tree, A, ids(1, 2), ids(0, 1)))
    evicted(tree, 1)
    assert table.tip("s") is not None
    evicted(tree, 1)
    assert table.tip("s") is None


@pytest.mark.parametrize(("now", "more"), [(9.0, True), (10.5, True), (40.0, False)])
def test_who_is_expected_now_is_worth_more_than_who_is_long_overdue(now: float, more: bool) -> None:
    tree, _ = a_table()
    node = put(tree, A, ids(1), ids(0))
    assert (a_lease("s", node, expected=10.0).value(now) > a_lease("t", node, expected=15.0).value(now)) is more


def test_a_request_that_can_not_run_otherwise_ends_the_least_valuable_lease() -> None:
    tree, table = a_table()
    table.lease(a_lease("s", put(tree, A, ids(1), ids(0)), worth_s=2.0), 0)
    table.lease(a_lease("t", put(tree, A, ids(2), ids(1)), worth_s=1.0), 0)
    assert [lease.session if lease else None for lease in (table.demote(1), table.demote(1), table.demote(1))] == [
        "t",
        "s",
        None,
    ]
    assert len(evicted(tree, 9)) == 2


def a_full_table(*turns: int) -> tuple[PrefixTree, LeaseTable]:
    """Sessions 0, 1, ... that hold two tokens each and have run so many turns."""
    tree, table = a_table()
    for number, count in enumerate(turns):
        end = put(tree, A, ids(2 * number, 1), ids(2 * number, 2 * number + 1))
        table.lease(a_lease(str(number), end, turns=count, expected=10.0 + number), 0)
    return tree, table


def made_way(table: LeaseTable, account: Account, num_tokens: int) -> list[object]:
    """Sessions that made way for the return of another at time 0, in order."""
    ended = table.give_way(account, num_tokens, 0, lambda lease: lease.has_had_its_stint(0))
    return [lease.session for lease in ended]


def held(table: LeaseTable) -> set[object]:
    return {lease.session for lease in table}


def test_who_has_had_its_stint_makes_way_and_who_is_expected_last_does_first() -> None:
    tree, table = a_full_table(STINT, STINT - 1, STINT)
    (account,) = tree.shares.accounts.values()
    assert made_way(table, account, 2) == ["2"]
    assert held(table) == {"0", "1"}
    assert sorted(evicted(tree, 9)) == [4, 5]
    assert table.aside.of("a", 0) == 0


def test_nobody_makes_way_where_it_would_not_be_room_enough() -> None:
    tree, table = a_full_table(STINT, STINT - 1, STINT)
    (account,) = tree.shares.accounts.values()
    assert made_way(table, account, 5) == []
    assert held(table) == {"0", "1", "2"}
    assert made_way(table, account, 4) == ["2", "0"]
    assert held(table) == {"1"}


def test_what_others_hold_or_use_is_no_room() -> None:
    tree, table = a_table()
    end = put(tree, A, ids(1, 2, 3), ids(0, 1, 2))
    table.lease(a_lease("s", end, turns=STINT), 0)
    table.lease(a_lease("t", put(tree, A, ids(1, 2), ids(0, 1)), turns=0), 0)
    assert made_way(table, end.account, 2) == []
    tree.lock(end)
    assert made_way(table, end.account, 1) == []
    tree.unlock(end)
    assert made_way(table, end.account, 1) == ["s"]
    assert held(table) == {"t"}


@pytest.mark.parametrize("changes", [{"expected": None}, {"priority": 1}, {"wanted": 1.0}])
def test_who_waits_for_its_turn_or_is_wanted_does_not_make_way(changes: dict[str, object]) -> None:
    tree, table = a_table()
    end = put(tree, A, ids(1), ids(0))
    table.lease(a_lease("s", end, turns=STINT, **changes), 0)
    assert made_way(table, end.account, 1) == []


def test_who_has_had_its_stint_is_demoted_first_and_its_room_is_set_aside() -> None:
    _, table = a_full_table(1, STINT, 2)
    first, second = table.demote(0), table.demote(0)
    assert first is not None
    assert second is not None
    assert (first.session, second.session) == ("1", "2")
    assert table.aside.of("a", 0) == 4
