"""The grammar walk of 256 rows in different states, a third of them inside strings, on a CUDA device.

    python examples/bench/kernels/grammar_walk.py VOCABULARY [--schemas SCHEMAS.jsonl.gz --every 4] [--rows 256]
    python examples/bench/kernels/grammar_walk.py VOCABULARY ... --workload FILE --make   # where there is no device
    python examples/bench/kernels/grammar_walk.py VOCABULARY --workload FILE

VOCABULARY is a tekken.json or tokenizer.json; without schemas, made-up tools. Prints medians: masks with slices and
without, and the step to the next places. Masks are first compared with those of the host's cursors.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from bandwidth import require_cuda, time_cuda
from grammar_workload import Workload, on, workload

from espalier.gateway.bench import mask_workload
from espalier.gateway.bench.mask_workload import Tokens
from espalier.kernels.automaton import Slices
from espalier.kernels.grammar_walk import Masks, grammar_advance, grammar_walk

COPIES = 20


def check(masks: Masks, work: Workload) -> None:
    """Exit with 1 if a mask is not the cursor's."""
    differs = (masks.words.cpu() != work.masks).any(1) & ~masks.missed.cpu()
    if differs.any():
        print(f"rows {differs.nonzero().flatten().tolist()}: the masks are not the cursors'", file=sys.stderr)
        sys.exit(1)


def texts(tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each token's bytes begin, and the bytes."""
    lengths = [len(text or b"") for text in tokens]
    first = torch.tensor([0, *np.cumsum(lengths).tolist()], dtype=torch.int32)
    return first, torch.frombuffer(bytearray(b"".join(text or b"" for text in tokens)), dtype=torch.uint8)


def measure(work: Workload, tokens: Tokens, device: torch.device) -> None:
    """Print the times."""
    automaton, trie, places = on(work.automaton, device), on(work.trie, device), on(work.places, device)
    slices, num_rows = on(work.slices, device), len(work.token)
    num_words = slices.words.shape[1]

    def walk(slices: Slices | None) -> Masks:
        return grammar_walk(automaton, trie, places, num_rows=num_rows, num_words=num_words, slices=slices)

    masks = walk(slices)
    check(masks, work)
    print(f"{num_rows} rows, {dict(work.kinds)}, {len(tokens):,} tokens, {len(trie.byte):,} nodes of the trie")
    print(f"slices: {len(slices.words)}; rows that miss: {int(masks.missed.sum())} with them, "
          f"{int(walk(None).missed.sum())} without (no room)")  # fmt: skip
    print(f"masks with slices     {time_cuda(walk, [(slices,)] * COPIES) * 1e6:8.1f} us")
    print(f"masks without slices  {time_cuda(walk, [(None,)] * COPIES) * 1e6:8.1f} us")
    token, (first, text) = work.token.to(device), (x.to(device) for x in texts(tokens))
    inputs = [(automaton, places, token, first, text)] * COPIES
    print(f"next places           {time_cuda(grammar_advance, inputs) * 1e6:8.1f} us")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("--schemas", type=Path)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument(
        "--workload", type=Path, help="read the workload of this vocabulary from a file, or with --make write it"
    )
    parser.add_argument("--make", action="store_true", help="only make the workload, which needs no device")
    arguments = parser.parse_args()
    if arguments.make and not arguments.workload:
        parser.error("--make needs --workload")
    if arguments.workload and not arguments.make:
        for name in ("schemas", "every", "rows"):
            if getattr(arguments, name) != parser.get_default(name):
                parser.error(f"--{name} is for making a workload; {arguments.workload} is made")
    device = torch.device("cpu") if arguments.make else require_cuda()
    tokens, end = mask_workload.read_vocabulary(arguments.vocabulary)
    if arguments.workload and not arguments.make:
        work: Workload = torch.load(arguments.workload, weights_only=False)
        if work.masks.shape[1] * 32 < len(tokens):
            parser.error(f"{arguments.workload} is of another vocabulary")
    else:
        cases = mask_workload.cases_of(arguments.schemas, arguments.every) if arguments.schemas else None
        work = workload(tokens, end, list(cases or mask_workload.many_cases(60)), arguments.rows, device)
        if arguments.workload:
            torch.save(work, arguments.workload)
    if not arguments.make:
        measure(work, tokens, device)


if __name__ == "__main__":
    main()
