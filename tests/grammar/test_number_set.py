from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from espalier.grammar.number_set import (
    EVERY,
    INTEGERS,
    NOTHING,
    NumberSet,
    between,
    multiples,
    points,
)

GRID = [Fraction(n, 8) for n in range(-44, 45)]
halves = st.integers(-8, 8).map(lambda n: Fraction(n, 2))
steps = st.builds(Fraction, st.integers(1, 6), st.sampled_from([1, 2, 4]))
leaves = st.one_of(
    st.builds(between, halves | st.none(), st.booleans(), halves | st.none(), st.booleans()),
    st.builds(multiples, steps),
    st.builds(points, st.lists(halves, max_size=3)),
    st.sampled_from([EVERY, NOTHING, INTEGERS]),
)
Tree = NumberSet | tuple["Tree", "Tree", str]
trees = st.recursive(leaves, lambda inner: st.tuples(inner, inner, st.sampled_from("&|~")), max_leaves=8)


def built(tree: Tree) -> NumberSet:
    if isinstance(tree, NumberSet):
        return tree
    left, right, operator = built(tree[0]), built(tree[1]), tree[2]
    return left & right if operator == "&" else left | right if operator == "|" else ~left


def holds(tree: Tree, number: Fraction) -> bool:
    if isinstance(tree, NumberSet):
        return number in tree
    left, right, operator = tree
    if operator == "~":
        return not holds(left, number)
    return (
        all((holds(left, number), holds(right, number)))
        if operator == "&"
        else any((holds(left, number), holds(right, number)))
    )


@given(trees)
def test_operators_agree_with_logic_on_every_number(tree: Tree) -> None:
    found = built(tree)
    assert [number in found for number in GRID] == [holds(tree, number) for number in GRID]


@given(trees)
def test_mirroring_twice_changes_nothing(tree: Tree) -> None:
    found = built(tree)
    assert found.negated().negated() == found
    assert [-number in found.negated() for number in GRID] == [number in found for number in GRID]


def test_neighbours_that_agree_become_one_piece() -> None:
    assert between(None, False, Fraction(1), True) | between(Fraction(1), False, None, False) == EVERY
    assert ~EVERY == NOTHING
    assert ~~INTEGERS == INTEGERS


def test_multiples_meet_in_their_least_common_multiple() -> None:
    assert multiples(Fraction(3, 2)) & multiples(Fraction(2)) == multiples(Fraction(6))
    assert multiples(Fraction(4)) & ~multiples(Fraction(2)) == NOTHING
