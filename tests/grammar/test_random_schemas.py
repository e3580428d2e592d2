"""Random schemas against independent validators: every keyword with every other, all values judged, no dead ends."""

from __future__ import annotations

from collections import Counter
from random import Random

from tests.grammar.check import check

NUM_SCHEMAS = 1000


def test_grammars_of_random_schemas_accept_what_validators_do_and_have_no_dead_ends() -> None:
    counts = Counter[str]()
    faults = [f"seed {seed}: {fault}" for seed in range(NUM_SCHEMAS) for fault in check(Random(seed), counts)]
    assert not faults, "\n".join(faults[:5])
    assert counts["compiled"] > 0.8 * NUM_SCHEMAS
    assert counts["valid"] > 2000 and counts["invalid"] > 2000
    assert not [name for name in counts if name.startswith("refused: ") and name != "refused: as malformed"]
