"""Long runs of random schemas against independent validators: `random_schemas.py [FIRST] [LAST]` judges these seeds.

Each schema's grammar is asked about random values, its own random texts and mutants of them; the tests run a sample.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.grammar.check import check


def main() -> int:
    """Judge the seeds; 1 if anything is wrong."""
    first, last = (int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else (0, 10_000)
    counts, faults, began = Counter[str](), 0, time.perf_counter()
    for seed in range(first, last):
        for fault in check(Random(seed), counts):
            faults += 1
            print(f"seed {seed}: {fault}\n", flush=True)
    for name, count in counts.most_common():
        print(f"{count:9,}  {name}")
    print(f"{faults} faults in {last - first:,} schemas, {time.perf_counter() - began:.0f} s")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
