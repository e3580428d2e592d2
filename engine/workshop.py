"""Long work in short turns: each job has a thread of its own, which runs only while the loop lets it.

So a loop that has other things to do never waits for a job longer than it chose to, and a job shares everything with
the loop without locks: never do two of them run at once. Imports no torch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

Pause = Callable[[], None]
Preparation = Callable[[Pause], None]


class _EndedError(Exception):
    """Nobody wants a job's result any more."""


class Job:
    """One piece of work, which gets a function that it has to call often. `failure` is what it raised, if it did."""

    def __init__(self, name: str, work: Preparation) -> None:
        self.name = name
        self._work = work
        self._deadline = 0.0
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self.failure: Exception | None = None
        self.is_done = self._is_ending = False
        self._thread: threading.Thread | None = None

    def run(self, slice_s: float) -> None:
        """Let it go on until it is done, or until its first pause behind so many seconds."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"job {self.name}", daemon=True)
            self._thread.start()
        self._deadline = time.monotonic() + slice_s
        self._go.release()
        self._back.acquire()

    def end(self) -> None:
        """Give up what was begun."""
        self._is_ending = True
        if self._thread is not None and not self.is_done:
            self.run(0)

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._work(self._pause)
        except _EndedError:
            pass
        except Exception as error:
            self.failure = error
        self.is_done = True
        self._back.release()

    def _pause(self) -> None:
        if time.monotonic() >= self._deadline:
            self._back.release()
            self._go.acquire()
            if self._is_ending:
                raise _EndedError


class Workshop:
    """Jobs that take turns, each of them for a short time."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, name: str, work: Preparation) -> None:
        """Begin something later."""
        self._jobs.append(Job(name, work))

    def drop(self, name: str) -> None:
        """Give up the jobs of a name."""
        for job in [job for job in self._jobs if job.name == name]:
            self._jobs.remove(job)
            job.end()

    def turn(self, slice_s: float) -> Job | None:
        """Let the next job go on for so long; the job if it is done now."""
        job = self._jobs.popleft()
        job.run(slice_s)
        if job.is_done:
            return job
        self._jobs.append(job)
        return None
