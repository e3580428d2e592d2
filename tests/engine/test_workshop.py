"""Jobs in short turns: one at a time, none of them longer than it is let."""

from __future__ import annotations

import threading
from collections.abc import Callable

from espalier.engine.workshop import Job, Workshop


def counting(seen: list[str], name: str, times: int) -> Callable[[Callable[[], None]], None]:
    def work(pause: Callable[[], None]) -> None:
        for _ in range(times):
            seen.append(name)
            pause()

    return work


def test_a_job_goes_on_from_pause_to_pause() -> None:
    seen: list[str] = []
    job = Job("a", counting(seen, "a", 3))
    for count in (1, 2, 3, 3):
        assert not job.is_done
        job.run(0)
        assert len(seen) == count
    assert job.is_done and job.failure is None


def test_with_time_enough_it_is_done_at_once() -> None:
    seen: list[str] = []
    job = Job("a", counting(seen, "a", 1000))
    job.run(1e6)
    assert job.is_done and len(seen) == 1000


def test_jobs_take_turns() -> None:
    seen: list[str] = []
    workshop = Workshop()
    workshop.add("a", counting(seen, "a", 2))
    workshop.add("b", counting(seen, "b", 3))
    done = []
    while workshop:
        job = workshop.turn(0)
        done += [job.name] if job else []
    assert seen == ["a", "b", "a", "b", "b"] and done == ["a", "b"]


def test_a_job_that_fails_is_done() -> None:
    def work(pause: Callable[[], None]) -> None:
        pause()
        raise ValueError("no")

    workshop = Workshop()
    workshop.add("a", work)
    assert workshop.turn(0) is None
    job = workshop.turn(0)
    assert job is not None and isinstance(job.failure, ValueError) and not workshop


def test_a_job_that_is_dropped_ends_with_its_thread() -> None:
    before = threading.active_count()
    seen: list[str] = []
    workshop = Workshop()
    workshop.add("a", counting(seen, "a", 10**9))
    workshop.add("b", counting(seen, "b", 10**9))
    workshop.turn(0)
    workshop.drop("a")
    workshop.drop("b")
    for thread in threading.enumerate():
        if thread.name == "job a":
            thread.join(10)
    assert not workshop and threading.active_count() == before and seen == ["a"]
