"""Times one prefix tree over a trace of growing sessions: one line of JSON, nothing else on stdout.

Imports only numpy and the standard library, and nothing of ours: it runs in the peer's environment too. Sessions start
with one of a few shared prompts and take turns; each turn matches its whole history, locks what was found, inserts the
rest and moves the lock. Then all are matched once more, whole and up to a random token where they branch off, and the
pool is emptied by half in small evictions.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
PROMPTS = 8
EVICTION = 4096


class Trace(NamedTuple):
    """`sessions` of `tokens` tokens in so many turns; `shared` of them are a prompt that others have too."""

    sessions: int
    tokens: int
    turns: int
    shared: int
    is_scattered: bool


class Tree(Protocol):
    """A prefix tree under test. What `tokens` and `slots` make, in the tree's own form, is not timed."""

    def tokens(self, ids: Ids) -> Any:
        """Token ids."""
        ...

    def slots(self, slots: Ids) -> Any:
        """The slots of a whole path."""
        ...

    def match(self, tokens: Any, length: int) -> tuple[Any, int]:
        """The node where the longest known prefix of the first `length` tokens ends, and its length."""
        ...

    def lock(self, node: Any) -> Any:
        """Protect a path; returns what `unlock` takes."""
        ...

    def unlock(self, lock: Any) -> None:
        """Undo a lock."""
        ...

    def insert(self, node: Any, matched: int, tokens: Any, slots: Any, length: int) -> Any:
        """Insert the first `length` tokens, of which `matched` are known down to `node`; returns the end."""
        ...

    def evict(self, count: int) -> int:
        """Give up about `count` tokens; returns how many."""
        ...


class History(NamedTuple):
    """What a session holds in the end: its tokens and their slots."""

    ids: Ids
    slots: Ids


def ids_of(trace: Trace, session: int) -> Ids:
    """The tokens of a session, the same at each call."""
    prompt = np.random.default_rng(session % PROMPTS).integers(0, 150_000, trace.shared, dtype=np.int32)
    rest = np.random.default_rng(1000 + session).integers(0, 150_000, trace.tokens - trace.shared, dtype=np.int32)
    return np.concatenate((prompt, rest))


def slots_of(trace: Trace, session: int) -> Ids:
    """The slots of a session: rising within a turn, or in any order."""
    step = trace.tokens // trace.turns
    at = np.arange(trace.tokens, dtype=np.int32)
    slots = (at // step * trace.sessions + session) * step + at % step
    return np.random.default_rng(session).permutation(slots) if trace.is_scattered else slots


def histories_of(trace: Trace) -> list[History]:
    """All sessions, so that none is made twice."""
    return [History(ids_of(trace, session), slots_of(trace, session)) for session in range(trace.sessions)]


def resident_bytes() -> int:
    """Resident memory of this process; 0 where /proc isn't there."""
    gc.collect()
    try:
        fields = Path("/proc/self/status").read_text().split()
    except OSError:
        return 0
    return int(fields[fields.index("VmRSS:") + 1]) * 1024


class Stopwatch:
    """Processor seconds by operation, so that what else the machine does counts less."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def time(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call, and note how long it took."""
        began = time.thread_time()
        result = call(*arguments)
        self.seconds.setdefault(name, []).append(time.thread_time() - began)
        return result


def grow(tree: Tree, trace: Trace, histories: list[History], watch: Stopwatch) -> None:
    """All turns of all sessions, round robin; what a turn brings is a copy, as it would be new."""
    step = trace.tokens // trace.turns
    for turn in range(1, trace.turns + 1):
        for history in histories:
            length = turn * step
            tokens, slots = tree.tokens(history.ids[:length].copy()), tree.slots(history.slots[:length].copy())
            node, matched = watch.time("match", tree.match, tokens, length)
            lock = watch.time("lock", tree.lock, node)
            end = watch.time("insert", tree.insert, node, matched, tokens, slots, length)
            after = watch.time("lock", tree.lock, end)
            watch.time("lock", tree.unlock, lock)
            watch.time("lock", tree.unlock, after)


def match_all(tree: Tree, trace: Trace, histories: list[History], watch: Stopwatch) -> int:
    """Match every session whole, then one that branches off somewhere; returns the tokens found whole."""
    rng = np.random.default_rng(7)
    length = trace.tokens // trace.turns * trace.turns
    found = 0
    for history in histories:
        ids = history.ids[:length].copy()
        found += watch.time("whole", tree.match, tree.tokens(ids), length)[1]
        branch = ids.copy()
        branch[rng.integers(length) :] += 1
        watch.time("branch", tree.match, tree.tokens(branch), length)
    return found


def main(make: Callable[[], Tree], arguments: list[str] | None = None) -> None:
    """The trace's five numbers as JSON."""
    trace = Trace(*json.loads((sys.argv[1:] if arguments is None else arguments)[0]))
    tree, watch, histories = make(), Stopwatch(), histories_of(trace)
    before = resident_bytes()
    grow(tree, trace, histories, watch)
    memory = resident_bytes() - before
    found = match_all(tree, trace, histories, watch)
    gone, half = 0, found // 2
    while gone < half and (count := watch.time("evict", tree.evict, EVICTION)):
        gone += count
    totals = {name: {"total_s": sum(times), "calls": len(times)} for name, times in watch.seconds.items()}
    print(json.dumps({"memory": memory, "found": found, "evicted": gone, "times": totals}), flush=True)
