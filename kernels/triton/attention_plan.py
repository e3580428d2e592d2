"""How attention is cut into programs: decided from shapes alone, so that a captured graph serves any contexts.

Three cases. *Decode*, at most one token a sequence on average: each token is a tile. *Extend*, all other steps, decode
tokens among them: tiles of several queries of one sequence, sized by the average. *Exact*: each token is a tile, and
the splits follow from the width of the slot table alone, so that a query's result depends on its own history only.
"""

from __future__ import annotations

from dataclasses import dataclass

MIN_SPLIT = 256
MAX_SPLITS = 64
# So many programs keep the multiprocessors of a large GPU busy with a short last wave, though contexts are of
# different lengths and, as a rule, shorter than the table is wide.
ENOUGH_PROGRAMS = 8192
MAX_PARTIAL_BYTES = 256 * 2**20
MAX_TILES = 32768
# Rows and keys of a tile, so that nothing spills: float32 or not, heads larger than 128 or not.
MOST_ROWS = {(False, False): 128, (False, True): 32, (True, False): 32, (True, True): 16}
BLOCK_KEYS = {(False, False): 64, (False, True): 32, (True, False): 32, (True, True): 16}


@dataclass(frozen=True, slots=True)
class Plan:
    """`queries` and `block_rows` (queries times query heads of a KV head, rounded up) of a tile; keys of a split."""

    is_per_token: bool
    queries: int
    block_rows: int
    block_keys: int
    split: int
    num_splits: int
    tokens_at_once: int
    num_warps: int
    num_stages: int

    def num_tiles(self, num_tokens: int, num_sequences: int) -> int:
        """Tiles that cover any division of the tokens among the sequences."""
        return num_tokens if self.is_per_token else num_tokens // self.queries + num_sequences


def power_of_two(number: int) -> int:
    """The smallest one not below `number`."""
    return 1 << max(0, number - 1).bit_length()


def plan_attention(
    *,
    num_tokens: int,
    num_sequences: int,
    num_heads: int,
    num_kv_heads: int,
    size: int,
    width: int,
    is_float32: bool,
    exact: bool,
) -> Plan:
    """The plan for `num_tokens` new tokens of `num_sequences`, heads of `size`, over a slot table of `width`."""
    group = num_heads // num_kv_heads
    is_per_token = exact or num_tokens <= num_sequences
    block_rows = max(16, power_of_two(group))
    if not is_per_token:
        most = max(block_rows, MOST_ROWS[is_float32, size > 128])
        block_rows = min(most, max(block_rows, power_of_two(group * num_tokens // num_sequences)))
    queries = 1 if is_per_token else block_rows // group
    bytes_of_a_token = num_heads * size * 4
    if exact:
        splits = MAX_SPLITS
    else:
        tiles = num_tokens if is_per_token else num_tokens // queries + num_sequences
        splits = min(MAX_SPLITS, power_of_two(-(-ENOUGH_PROGRAMS // max(1, tiles * num_kv_heads))))
        while splits > 1 and not is_per_token and splits * num_tokens * bytes_of_a_token > MAX_PARTIAL_BYTES:
            splits //= 2
    split = max(MIN_SPLIT, power_of_two(-(-width // splits)))
    num_splits = max(1, -(-width // split))
    return Plan(
        is_per_token=is_per_token,
        queries=queries,
        block_rows=block_rows,
        block_keys=BLOCK_KEYS[is_float32, size > 128],
        split=split,
        num_splits=num_splits,
        tokens_at_once=min(MAX_TILES, max(1, MAX_PARTIAL_BYTES // (num_splits * bytes_of_a_token)))
        if is_per_token
        else max(1, num_tokens),
        num_warps=8 if block_rows >= 128 or (is_float32 and (size > 64 or block_rows > 16)) else 4,
        num_stages=2 if is_float32 or size > 128 else 3,
    )
