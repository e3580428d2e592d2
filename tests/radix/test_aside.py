"""What leases gave up for growth: it is grown into, or lapses."""

from __future__ import annotations

from espalier.radix.aside import LAPSES_S, Aside


def test_growth_takes_what_is_set_aside_of_its_tenant() -> None:
    aside = Aside()
    aside.add("a", 10, 0)
    aside.add("b", 5, 0)
    aside.take("a", 4)
    assert (aside.of("a", 1), aside.of("b", 1)) == (6, 5)
    aside.take("a", 100)
    assert (aside.of("a", 1), aside.of("b", 1)) == (0, 5)


def test_what_nobody_grows_into_lapses_counted_from_the_last() -> None:
    aside = Aside()
    aside.add("a", 10, 0)
    aside.add("a", 1, LAPSES_S / 2)
    assert aside.of("a", LAPSES_S) == 11
    assert aside.of("a", 1.5 * LAPSES_S) == 0


def test_nothing_changes_nothing() -> None:
    aside = Aside()
    aside.take("a", 3)
    aside.take("a", -3)
    aside.add("a", 0, 0)
    assert aside == Aside()
    aside.add("a", 10, 0)
    aside.add("a", 0, LAPSES_S / 2)
    aside.take("a", -3)
    assert aside.of("a", LAPSES_S / 2) == 10
    assert aside.of("a", LAPSES_S) == 0
