"""The slots of an edge, against a list of them."""

from __future__ import annotations

import numpy as np
import pytest

from espalier.radix.run import Ids, unpacked
from espalier.radix.slots import Slots
from tests.radix.model import ids


def slots_of(*runs: Ids) -> Slots:
    slots = Slots()
    for run in runs:
        slots.append(run)
    return slots


def test_slots_that_rise_on_are_one_range() -> None:
    assert slots_of(ids(4, 5), ids(6), ids(), ids(7, 8)).parts == [range(4, 9)]


def test_a_long_range_stays_one_beside_others() -> None:
    slots = slots_of(np.arange(1000, dtype=np.int32), ids(7, 5), np.arange(2000, 3000, dtype=np.int32))
    assert [type(part) for part in slots.parts] == [range, np.ndarray, range]


def test_short_ranges_and_arrays_become_one_array() -> None:
    slots = slots_of(ids(1, 2), ids(9, 7), ids(4))
    assert [unpacked([part]).tolist() for part in slots.parts] == [[1, 2, 9, 7, 4]]


def test_what_was_appended_is_a_copy() -> None:
    run = ids(9, 7)
    slots = slots_of(run)
    run[0] = 1
    assert unpacked(slots.parts).tolist() == [9, 7]


def test_a_cut_gives_the_parts_as_they_are_kept_the_last_first() -> None:
    slots = slots_of(np.arange(1000, dtype=np.int32), np.arange(2000, 3000, dtype=np.int32))
    assert slots.cut(999) == [range(2000, 3000), range(999, 1000)]
    assert slots.parts == [range(999)] and len(slots) == 999
    assert slots.cut(999) == []


@pytest.mark.parametrize("seed", range(20))
def test_random_appends_cuts_and_splits_agree_with_a_list(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slots, kept = Slots(), list[int]()
    for _ in range(200):
        act = rng.integers(4)
        if act == 0 and kept:
            keep = int(rng.integers(len(kept)))
            assert unpacked(slots.cut(keep)[::-1]).tolist() == kept[keep:]
            del kept[keep:]
        elif act == 1 and kept:
            at = int(rng.integers(len(kept) + 1))
            head = slots.split(at)
            assert unpacked(head.parts).tolist() == kept[:at] and len(head) == at
            del kept[:at]
        else:
            first, count = int(rng.integers(10_000)), int(rng.choice([1, 20, 500]))
            run = np.arange(first, first + count, dtype=np.int32)
            run = rng.permutation(run) if rng.integers(2) else run
            slots.append(run)
            kept += run.tolist()
        assert unpacked(slots.parts).tolist() == kept and len(slots) == len(kept)
