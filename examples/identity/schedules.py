"""Random schedules of sessions against requests alone: schedules.py [--count 10000] [--seed 0].

A schedule is a few sessions that take turns at once, fork, roll back, stop in the middle, are deleted, while others
flood the pool; slots are few, so that requests are preempted and state is evicted, demoted and brought up again; some
of it is not to reach the disk, or to last for a time; and the engine is restarted. Whatever happens, each greedy answer
has to be the one that the request gets alone, without the tree, token for token (`exact`). Freed slots are filled with
NaN.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from espalier.engine import Engine, EngineOptions, Generate, SamplingParams
from espalier.engine.loader import Loaded, load
from espalier.engine.messages import Forget, Fork, Hold, Release, Retention
from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint
from espalier.radix import RecomputeCost

VOCABULARY = 512
LONGEST = 120
MOST_SLOTS = 600
TENANTS = ("x", "y")
RETENTIONS = (Retention(), Retention(to_disk=False), Retention(keep_s=0.05), Retention(keep_s=60.0))


class DifferentAnswerError(Exception):
    """An answer was not the one that the request gets alone."""


@dataclass(slots=True)
class Alone:
    """What each request answers alone, computed once."""

    engine: Engine
    known: dict[tuple[int, ...], list[int]] = field(default_factory=dict)

    def answer(self, prompt: list[int], count: int) -> list[int]:
        """The first `count` tokens after a prompt."""
        known = self.known.get(tuple(prompt), [])
        if len(known) < count:
            params = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True)
            self.engine.submit(Generate("alone", prompt, params))
            known = []
            while self.engine.has_work():
                known += [token for output in self.engine.step().outputs for token in output.token_ids]
            self.known[tuple(prompt)] = known
        return known[:count]


@dataclass(slots=True)
class Asked:
    """A request on its way."""

    session: str
    prompt: list[int]
    count: int
    answer: list[int] = field(default_factory=list)
    aborts_after: int = -1


class Schedule:
    """One random schedule. `counts` tells what happened in it."""

    def __init__(self, seed: int, loaded: Loaded, options: EngineOptions, alone: Alone, folder: Path) -> None:
        self._rng = np.random.default_rng(seed)
        self._loaded, self._alone = loaded, alone
        per_token = loaded.fit.kv_bytes_per_token
        rng = self._rng
        self._num_slots = int(rng.choice([160, 200, 300, MOST_SLOTS]))
        self._options = replace(
            options,
            step_tokens=int(rng.choice([7, 33, 128])),
            max_running=int(rng.choice([2, 4, 8])),
            lease_share=float(rng.choice([0.0, 0.5, 1.0])),
            lease_patience_s=float(rng.choice([0.0, 0.01, 10.0])),
            kv_host_bytes=int(rng.choice([0, 150, 1000])) * per_token,
            kv_disk_bytes=int(rng.choice([0, 400, 4000])) * per_token,
            kv_folder=str(folder),
        )
        self._is_dear = bool(rng.random() < 0.8)
        self._runs_ahead = bool(rng.random() < 0.5)
        self._histories: dict[str, list[int]] = {}
        self._shared = self._tokens(40)
        self._count = 0
        self.counts: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        """Play it. Raises DifferentAnswerError, or AssertionError if slots are lost."""
        for _ in range(int(self._rng.integers(1, 4))):
            engine = self._engine()
            for _ in range(int(self._rng.integers(2, 7))):
                self._round(engine)
            self._close(engine)
            self.counts["restarts"] += 1
        return self.counts

    def _engine(self) -> Engine:
        fit = replace(self._loaded.fit, num_slots=self._num_slots, max_context=LONGEST + 40, max_running=8)
        fit = replace(fit, max_running=min(fit.max_running, self._options.max_running))
        loaded = replace(self._loaded, fit=fit)
        return Engine(self._options, loaded=loaded, poison_freed=True, runs_ahead=self._runs_ahead)

    def _close(self, engine: Engine) -> None:
        stats = engine.stats()
        self.counts["evicted tokens"] += stats.evicted_tokens
        self.counts["loaded tokens"] += stats.loaded_tokens
        self.counts["cached tokens"] += stats.cached_tokens
        self.counts["preemptions"] += stats.preemptions
        self.counts["leases demoted"] += stats.leases_demoted
        engine.close()

    def _round(self, engine: Engine) -> None:
        """A few requests at once, and what is told of sessions around them."""
        asked: dict[str, Asked] = {}
        for _ in range(int(self._rng.integers(1, 5))):
            self._count += 1
            asked[str(self._count)] = self._request()
        self._play(engine, asked)
        for one in asked.values():
            self._tell(engine, one)

    def _request(self) -> Asked:
        rng = self._rng
        session = "" if rng.random() < 0.2 else str(rng.integers(4))
        history = self._histories.get(session, [])
        if not session or not history:
            history = self._shared[: int(rng.integers(41))]
        elif rng.random() < 0.2:
            history = history[: int(rng.integers(len(history) + 1))]
            self.counts["rollbacks"] += 1
        prompt = [*history, *self._tokens(int(rng.integers(1, 60)))][-LONGEST:]
        aborts = int(rng.integers(12)) if rng.random() < 0.15 else -1
        return Asked(session, prompt, int(rng.choice([1, 2, 6, 12, 30])), aborts_after=aborts)

    def _play(self, engine: Engine, asked: dict[str, Asked]) -> None:
        for name, one in asked.items():
            params = SamplingParams(temperature=0, max_tokens=one.count, ignore_eos=True)
            tenant = TENANTS[int(one.session or 0) % 2]
            retention = RETENTIONS[int(self._rng.choice(len(RETENTIONS), p=(0.6, 0.1, 0.15, 0.15)))]
            engine.submit(
                Generate(
                    name,
                    one.prompt,
                    params,
                    tenant=tenant,
                    session=one.session,
                    is_group=bool(one.session and self._rng.random() < 0.1),
                    retention=retention,
                )
            )
        step = 0
        while engine.has_work():
            engine.scheduler.tips.cost = RecomputeCost(0, 1.0 if self._is_dear else 1e-5, 0)
            for output in engine.step().outputs:
                asked[output.request_id].answer += output.token_ids
            engine.scheduler.check()
            for name, one in asked.items():
                if one.aborts_after == step:
                    engine.abort(name)
                    self.counts["aborts"] += 1
            step += 1
        for one in asked.values():
            self._compare(one)

    def _compare(self, one: Asked) -> None:
        expected = self._alone.answer(one.prompt, one.count)[: len(one.answer)]
        if one.answer != expected or (one.aborts_after < 0 and len(one.answer) != one.count):
            raise DifferentAnswerError(f"a prompt of {len(one.prompt)}: expected {expected}, got {one.answer}")
        self.counts["answers"] += 1

    def _tell(self, engine: Engine, one: Asked) -> None:
        """What the gateway tells after a turn."""
        if not one.session or len(one.answer) < one.count:
            return
        self._histories[one.session] = [*one.prompt, *one.answer]
        note = self._rng.random()
        tenant = TENANTS[int(one.session) % 2]
        if note < 0.5:
            waits = tuple(np.sort(self._rng.exponential(0.01, 6)).tolist())
            engine.note(Hold(one.session, waits, priority=int(self._rng.integers(2))))
        elif note < 0.6:
            engine.note(Release(one.session))
        elif note < 0.7:
            other = str((int(one.session) + 2) % 4)
            engine.note(Fork(one.session, other))
            self._histories[other] = list(self._histories[one.session])
            self.counts["forks"] += 1
        elif note < 0.78:
            engine.note(Forget(tenant, "", self._histories.pop(one.session), one.session))
            self.counts["deletions"] += 1

    def _tokens(self, count: int) -> list[int]:
        return [int(token) for token in self._rng.integers(1, VOCABULARY, count)]


@dataclass(slots=True)
class Bench:
    """What all schedules share: the model, and the answers alone."""

    options: EngineOptions
    loaded: Loaded
    alone: Alone

    @staticmethod
    def make(checkpoint: Path) -> Bench:
        """With a checkpoint that is there already."""
        options = EngineOptions(model=str(checkpoint), exact=True, kv_memory_bytes=2**20, threads=1)
        per_token = load(options).fit.kv_bytes_per_token
        sized = replace(options, kv_memory_bytes=MOST_SLOTS * per_token)
        alone = Engine(replace(sized, prefix_cache=False), loaded=load(sized))
        return Bench(sized, load(sized), Alone(alone))

    def play(self, seeds: range) -> Iterator[Counter[str]]:
        """Play one schedule after another."""
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder:
                yield Schedule(seed, self.loaded, self.options, self.alone, Path(folder) / "kv").run()
            self.alone.known.clear()


def main() -> int:
    """Play, and tell what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    total: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench.make(write_random_checkpoint(Path(folder), SHAPES["tiny"]))
        seeds = range(args.seed, args.seed + args.count)
        for number, counts in enumerate(bench.play(seeds), 1):
            total += counts
            if number % 100 == 0 or number == args.count:
                print(f"{number} schedules, {time.monotonic() - began:.0f} s: {dict(total)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
