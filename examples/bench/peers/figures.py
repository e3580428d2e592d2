"""The figures of `espalier bench engine`, for any engine that takes requests of token ids and steps.

Standard library only: it runs in every peer's environment. A figure is the best of the runs made of it.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from pathlib import Path
from random import Random
from typing import Protocol

PROMPT_LEN, BATCHES, SHARED_LEN, MESSAGE_LEN, ANSWER_LEN, CHATS, TURNS = 512, (1, 8, 32), 1000, 24, 32, 8, 4


class Peer(Protocol):
    """A loaded engine; greedy, ends of text ignored."""

    def add(self, name: str, chat: str, token_ids: list[int], max_tokens: int) -> None:
        """Queue a request; `chat` is the same for the turns of one conversation."""
        ...

    def step(self) -> list[tuple[str, list[int]]]:
        """Compute a step; the tokens that requests got by it."""
        ...

    def has_work(self) -> bool:
        """Whether a request is unfinished."""
        ...


class Figures:
    """Measures one setting of one peer."""

    def __init__(self, peer: Peer, vocab: int, repeat: int) -> None:
        self.peer, self.vocab, self.repeat = peer, vocab, repeat
        self._number = 0

    def tokens(self, rng: Random, count: int) -> list[int]:
        """Random tokens."""
        return [rng.randrange(256, self.vocab) for _ in range(count)]

    def run(self, prompts: dict[str, list[int]], max_tokens: int) -> dict[str, list[float]]:
        """Answer all prompts at once: the time of each token of each, in seconds from the start."""
        self._number += 1
        names = {f"{self._number}-{chat}": chat for chat in prompts}
        began, times = time.perf_counter(), {chat: list[float]() for chat in prompts}
        for name, chat in names.items():
            self.peer.add(name, chat, prompts[chat], max_tokens)
        self.answers: dict[str, list[int]] = {chat: [] for chat in prompts}
        while self.peer.has_work():
            for name, token_ids in self.peer.step():
                if name in names:
                    times[names[name]] += [time.perf_counter() - began] * len(token_ids)
                    self.answers[names[name]] += token_ids
        return times

    def prefill(self, seed: int) -> float:
        """Tokens/s of one prompt."""
        rng = Random(1000 + seed)
        return PROMPT_LEN / self.run({"p": self.tokens(rng, PROMPT_LEN)}, 1)["p"][0]

    def decode(self, batch: int, seed: int) -> float:
        """Tokens/s while all requests decode."""
        rng = Random(2000 + 100 * batch + seed)
        count = 64 if batch == 1 else 40
        times = self.run({f"d{at}": self.tokens(rng, PROMPT_LEN) for at in range(batch)}, count)
        begin = max(each[0] for each in times.values())
        end = min(each[-1] for each in times.values())
        return sum(begin < at <= end for each in times.values() for at in each) / (end - begin)

    def chats(self, seed: int) -> tuple[float, float]:
        """Mean time to first token of chats over a shared prompt: turn 1, the later turns."""
        rng = Random(3000 + seed)
        shared = self.tokens(rng, SHARED_LEN)
        histories = {f"c{seed}-{chat}": list(shared) for chat in range(CHATS)}
        means: list[float] = []
        for _ in range(TURNS):
            for history in histories.values():
                history += self.tokens(rng, MESSAGE_LEN)
            times = self.run(histories, ANSWER_LEN)
            means.append(statistics.mean(each[0] for each in times.values()))
            for chat, history in histories.items():
                history += self.answers[chat]
        return means[0], statistics.mean(means[1:])

    def all(self) -> dict[str, float]:
        """All figures by the names that `espalier bench engine` gives them."""
        seeds = range(self.repeat)
        self.run({"warm": self.tokens(Random(0), 64)}, 8)
        found = {"prefill tokens/s": max(self.prefill(seed) for seed in seeds)}
        for batch in BATCHES:
            found[f"decode tokens/s at batch {batch}"] = max(self.decode(batch, seed) for seed in seeds)
        first, later = math.inf, math.inf
        for seed in seeds:
            turn_1, turns = self.chats(seed)
            first, later = min(first, turn_1), min(later, turns)
        return found | {"chats TTFT s, turn 1": first, f"chats TTFT s, turns 2 to {TURNS}": later}


def vocab_of(checkpoint: Path) -> int:
    """Vocabulary size of a checkpoint."""
    return int(json.loads((checkpoint / "config.json").read_text())["vocab_size"])


def report(peer: str, setting: str, version: str, figures: dict[str, float]) -> None:
    """One line of JSON for one setting."""
    print(json.dumps({"peer": peer, "setting": setting, "version": version, "figures": figures}), flush=True)
    print(f"{peer} {setting}: done", file=sys.stderr, flush=True)
