"""A thread that moves attention state between tiers, beside the step loop.

A job's `work` runs there, one after another; its `done` runs where the loop polls, with what the work gave or raised.
So all bookkeeping stays in the loop's thread, and only copies and files are elsewhere.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

Outcome = float | Exception
"""Seconds that the work took, or why it failed."""


@dataclass(frozen=True, slots=True)
class Job:
    """One move."""

    work: Callable[[], None]
    done: Callable[[Outcome], None]


class TierWorker:
    """Runs jobs in order; `clock` measures them. Jobs that bring state up overtake those that take it down."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._jobs: queue.PriorityQueue[tuple[int, int, Job | None]] = queue.PriorityQueue()
        self._finished: queue.SimpleQueue[tuple[Job, Outcome]] = queue.SimpleQueue()
        self._count = 0
        self.num_open = 0
        self._thread = threading.Thread(target=self._run, name="tiers", daemon=True)
        self._thread.start()

    def submit(self, job: Job, *, is_urgent: bool) -> None:
        """Queue a job."""
        self._count += 1
        self.num_open += 1
        self._jobs.put((0 if is_urgent else 1, self._count, job))

    def poll(self, wait_s: float = 0.0) -> None:
        """Run what is to be done after finished jobs; waits that long for the first of them."""
        while self.num_open:
            try:
                job, outcome = self._finished.get(timeout=wait_s) if wait_s > 0 else self._finished.get_nowait()
            except queue.Empty:
                return
            wait_s = 0.0
            self.num_open -= 1
            job.done(outcome)

    def close(self) -> None:
        """Finish all jobs, and end."""
        self._jobs.put((2, 0, None))
        self._thread.join()
        self.poll()

    def _run(self) -> None:
        while (job := self._jobs.get()[2]) is not None:
            began = self._clock()
            try:
                job.work()
                outcome: Outcome = self._clock() - began
            except Exception as error:  # an edge: told to the loop, which goes on without this state
                outcome = error
            self._finished.put((job, outcome))
