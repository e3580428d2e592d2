"""Plans of attention: every token is covered whatever the division among sequences, and memory is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.kernels.triton.attention_plan import MAX_PARTIAL_BYTES, MIN_SPLIT, Plan, plan_attention, power_of_two


def plan(num_tokens: int, num_sequences: int, *, width: int = 8192, exact: bool = False, heads: int = 32) -> Plan:
    return plan_attention(
        num_tokens=num_tokens,
        num_sequences=num_sequences,
        num_heads=heads,
        num_kv_heads=8,
        size=128,
        width=width,
        is_float32=False,
        exact=exact,
    )


def test_power_of_two_is_the_next_one() -> None:
    assert [power_of_two(n) for n in (0, 1, 2, 3, 4, 5, 1000)] == [1, 1, 2, 4, 4, 8, 1024]


def test_decode_takes_tokens_and_extend_takes_tiles_of_them() -> None:
    assert plan(64, 64).is_per_token
    assert not plan(65, 64).is_per_token
    assert plan(512, 1).queries == 32
    assert plan(80, 64).queries == 4


@given(st.lists(st.integers(0, 200), min_size=1, max_size=80))
def test_tiles_cover_every_division_of_the_tokens(counts: list[int]) -> None:
    made = plan(sum(counts), len(counts))
    assert made.num_tiles(sum(counts), len(counts)) >= sum(-(-count // made.queries) for count in counts)


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(1, 200_000), st.booleans())
def test_splits_cover_the_table_in_whole_blocks(tokens: int, sequences: int, width: int, exact: bool) -> None:
    made = plan(tokens, sequences, width=width, exact=exact)
    assert made.split * made.num_splits >= width > made.split * (made.num_splits - 1)
    assert made.split % made.block_keys == 0
    assert made.split >= MIN_SPLIT


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(1, 200_000), st.booleans())
def test_parts_take_bounded_memory(tokens: int, sequences: int, width: int, exact: bool) -> None:
    made = plan(tokens, sequences, width=width, exact=exact)
    if made.num_splits > 1:
        at_once = min(made.tokens_at_once, tokens)
        assert at_once * made.num_splits * 32 * 128 * 4 <= MAX_PARTIAL_BYTES


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(1, 200_000))
def test_exact_splits_follow_from_the_width_alone(tokens: int, sequences: int, width: int) -> None:
    alone, together = plan(1, 1, width=width, exact=True), plan(tokens, sequences, width=width, exact=True)
    assert alone == together


@pytest.mark.parametrize("heads", [8, 24, 56, 1024])
def test_a_tile_holds_all_heads_of_its_queries(heads: int) -> None:
    for tokens in (1, 64, 900):
        made = plan(tokens, 8, heads=heads)
        assert made.queries * (heads // 8) <= made.block_rows
        assert made.block_rows == power_of_two(made.block_rows) >= 16
