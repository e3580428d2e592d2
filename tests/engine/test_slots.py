"""Free slots."""

from __future__ import annotations

import numpy as np

from espalier.engine.slots import SlotAllocator


def test_take_hands_out_rising_runs() -> None:
    slots = SlotAllocator(10)
    assert slots.take(4).tolist() == [0, 1, 2, 3]
    assert slots.take(2).tolist() == [4, 5]


def test_slots_given_back_are_taken_again_and_none_is_lost() -> None:
    rng = np.random.default_rng(0)
    slots = SlotAllocator(64)
    held: list[np.ndarray] = []
    for _ in range(500):
        if held and rng.random() < 0.5:
            slots.give(held.pop(int(rng.integers(len(held)))))
        elif slots.num_free:
            held.append(slots.take(int(rng.integers(1, slots.num_free + 1))))
        everything = np.concatenate([slots.free_slots(), *held])
        assert sorted(everything.tolist()) == list(range(64))


def test_a_range_of_slots_can_be_given_back() -> None:
    slots = SlotAllocator(10)
    slots.take(10)
    slots.give(range(3, 7))
    assert slots.take(2).tolist() == [3, 4]
    assert slots.free_slots().tolist() == [6, 5]


def test_runs_come_together_again_after_much_giving_back() -> None:
    slots = SlotAllocator(100)
    singles = [slots.take(1) for _ in range(100)]
    for single in singles[::2] + singles[1::2]:
        slots.give(single)
    assert slots.take(50).tolist() == list(range(50))
