"""Times the masks of one engine over a workload: one line of JSON for each case, nothing else on stdout.

A workload is a folder: `vocabulary.npz` (the tokens' bytes end to end, their lengths, -1 for a special token, and the
end token) and `cases.jsonl` (id, schema, instances as token ids). Imports only numpy and the standard library, and
nothing of ours: it runs in the peers' environments too.

    {"ready": seconds of set-up, "rss": bytes, ...}
    {"case": id, "first": s, "cold": [s ...], "accept": [s ...], "second": [s ...], "again": [s ...], ...}
    {"done": number of cases, "rss": bytes}

first    the first mask of the first request with a schema, compilation included
cold     the later masks of that request, in a process that has seen only other schemas
second   the masks of later requests with the same schema and other values, the first ones included
again    the masks of another request with the first one's values
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Request(Protocol):
    """One constrained answer."""

    def fill(self) -> None:
        """Compute the mask of the next token into a buffer that is there already."""
        ...

    def allows(self, token: int) -> bool:
        """Whether the mask computed last allows a token; not timed."""
        ...

    def accept(self, token: int) -> None:
        """Read an allowed token."""
        ...


class Engine(Protocol):
    """Everything that is set up once for a vocabulary."""

    def request(self, schema: str) -> Request:
        """A new answer; what may be shared between requests with one schema is the engine's to keep. Raises."""
        ...


Tokens = list[bytes | None]
Make = Callable[[Tokens, int], Engine]


def read_vocabulary(folder: Path) -> tuple[Tokens, int]:
    """The tokens, None for a special one, and the end token."""
    with np.load(folder / "vocabulary.npz") as arrays:
        text, lengths, end = arrays["text"].tobytes(), arrays["lengths"], int(arrays["end"])
    tokens: Tokens = []
    at = 0
    for length in lengths.tolist():
        tokens.append(None if length < 0 else text[at : at + length])
        at += max(length, 0)
    return tokens, end


def read_cases(folder: Path) -> Iterator[dict[str, Any]]:
    """The cases."""
    with (folder / "cases.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def resident_bytes() -> int:
    """Resident memory of this process; 0 where /proc isn't there."""
    try:
        fields = Path("/proc/self/status").read_text().split()
    except OSError:
        return 0
    return int(fields[fields.index("VmRSS:") + 1]) * 1024


def walk(request: Request, tokens: list[int], end: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Mask and accept token by token: the times of all masks but the first, and how far it came."""
    masks, accepts = list[float](), list[float]()
    for index, token in enumerate([*tokens, end]):
        if index:
            began = clock()
            request.fill()
            masks.append(clock() - began)
        if not request.allows(token):
            return {"masks": masks, "accepts": accepts, "refused": index}
        if index < len(tokens):
            began = clock()
            request.accept(token)
            accepts.append(clock() - began)
    return {"masks": masks, "accepts": accepts, "refused": None}


def begin(engine: Engine, schema: str, clock: Callable[[], float]) -> tuple[Request, float]:
    """A request with its first mask, and the seconds that took."""
    began = clock()
    request = engine.request(schema)
    request.fill()
    return request, clock() - began


def measure(engine: Engine, case: dict[str, Any], end: int, clock: Callable[[], float]) -> dict[str, Any]:
    """All times of one case."""
    schema, instances = case["schema"], case["instances"]
    told: dict[str, Any] = {"case": case["id"], "second": [], "again": [], "refused": []}
    request, told["first"] = begin(engine, schema, clock)
    if not instances:
        return told
    found = walk(request, instances[0], end, clock)
    told |= {"cold": found["masks"], "accept": found["accepts"], "refused": [found["refused"]]}
    for name, tokens in [("second", tokens) for tokens in instances[1:]] + [("again", instances[0])]:
        request, first = begin(engine, schema, clock)
        found = walk(request, tokens, end, clock)
        told[name] += [first, *found["masks"]]
        told.setdefault(f"{name}_first", first)
        told.setdefault(f"{name}_accept", []).extend(found["accepts"])
        if name == "second":
            told["refused"].append(found["refused"])
    return told


def touch(engine: Engine, case: dict[str, Any], end: int, kept: list[Request]) -> dict[str, Any]:
    """One request with a schema, kept: what it makes stays in memory."""
    request, _ = begin(engine, case["schema"], time.perf_counter)
    kept.append(request)
    for tokens in case["instances"][:1]:
        walk(request, tokens, end, time.perf_counter)
    return {"case": case["id"]}


def main(make: Make, arguments: list[str] | None = None) -> None:
    """FOLDER, the number of the first case, and words.

    With `keep` only memory is measured. With `cpu` times are what the thread took of the processor, which other
    processes disturb less than the time of the clock on the wall.
    """
    given = sys.argv[1:] if arguments is None else arguments
    folder, start, keep = Path(given[0]), int(given[1]), "keep" in given[2:]
    clock = time.thread_time if "cpu" in given[2:] else time.perf_counter
    tokens, end = read_vocabulary(folder)
    began = time.perf_counter()
    engine = make(tokens, end)
    _say({"ready": time.perf_counter() - began, "rss": resident_bytes()})
    kept, count = list[Request](), 0
    for count, case in enumerate(read_cases(folder)):
        if count < start:
            continue
        try:
            _say(touch(engine, case, end, kept) if keep else measure(engine, case, end, clock))
        except Exception as error:
            _say({"case": case["id"], "error": f"{type(error).__name__}: {str(error)[:300]}"})
    _say({"done": count, "rss": resident_bytes()})


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)
