"""How patient a replica is, and how it tells that its engine gets on. Values in, values out: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from espalier.engine.messages import Stats


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When patience ends, in seconds.

    `stall_s` without progress makes a replica not alive, `kill_s` ends its process. The delay before a restart doubles
    from `first_restart_s` to `last_restart_s`; a process that served for `healthy_s` starts the doubling anew. A
    process that should end gets `grace_s`. While it loads, a record is written every `loading_log_s`.
    """

    stall_s: float = 30.0
    kill_s: float = 300.0
    first_restart_s: float = 0.5
    last_restart_s: float = 30.0
    healthy_s: float = 60.0
    grace_s: float = 10.0
    loading_log_s: float = 5.0

    def restart_delay_s(self, failures: int) -> float:
        """How long to wait before the restart after the `failures`-th failure in a row, counted from 1."""
        return min(self.last_restart_s, self.first_restart_s * 2.0 ** min(failures - 1, 30))


class Progress:
    """When the engine last got on: its step counter moved, or it said that it has nothing to do."""

    def __init__(self, now: float) -> None:
        self._step = -1
        self._at = now

    def note(self, stats: Stats, now: float) -> None:
        """Take the newest stats. A beat alone is no progress while requests run or wait."""
        if stats.step != self._step or not (stats.running or stats.waiting):
            self._step, self._at = stats.step, now

    def stalled_s(self, now: float) -> float:
        """Seconds since the last progress."""
        return now - self._at
