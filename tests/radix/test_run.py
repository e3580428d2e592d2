"""Runs of ids and slots."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.radix.run import common_prefix_len, first_of, packed, trimmed, unpacked
from tests.radix.model import ids


@pytest.mark.parametrize(
    ("a", "b", "length"),
    [((), (), 0), ((1,), (), 0), ((1, 2), (1, 2), 2), ((1, 2, 3), (1, 2), 2), ((1, 2), (1, 3), 1), ((2,), (1,), 0)],
)
def test_common_prefix_len_counts_equal_tokens(a: tuple[int, ...], b: tuple[int, ...], length: int) -> None:
    assert common_prefix_len(ids(*a), ids(*b)) == length


@pytest.mark.parametrize("at", [0, 1, 31, 32, 33, 200, 8999])
def test_common_prefix_len_finds_a_difference_anywhere_in_a_long_run(at: int) -> None:
    a = np.arange(9000, dtype=np.int32)
    b = a.copy()
    b[at] += 1
    assert common_prefix_len(a, b) == at
    assert common_prefix_len(a, b[:at]) == at
    assert common_prefix_len(a, a.copy()) == 9000


def test_a_rising_run_of_slots_is_kept_as_a_range() -> None:
    assert packed(ids(4, 5, 6)) == range(4, 7)
    assert packed(ids()) == range(0)


@pytest.mark.parametrize("slots", [(4, 6, 5, 7), (4, 3), (5, 5), (1, 2, 4)])
def test_other_slots_are_kept_as_they_are(slots: tuple[int, ...]) -> None:
    kept = packed(ids(*slots))
    assert not isinstance(kept, range)
    assert kept.tolist() == list(slots)


def test_parts_are_spelled_out_end_to_end() -> None:
    assert unpacked([range(3), ids(9, 7)]).tolist() == [0, 1, 2, 9, 7]
    assert unpacked([]).tolist() == []


def test_what_is_left_of_a_run_does_not_keep_much_more_alive() -> None:
    run = np.arange(100, dtype=np.int32)
    assert trimmed(run, 60).base is not None
    assert trimmed(trimmed(run, 60), 40).base is None
    assert first_of(range(7), 3) == range(3)
