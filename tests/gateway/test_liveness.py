from __future__ import annotations

from espalier.engine.messages import Stats
from espalier.gateway.liveness import Patience, Progress


def test_the_delay_before_a_restart_doubles_up_to_a_limit() -> None:
    patience = Patience(first_restart_s=0.5, last_restart_s=30)
    assert [patience.restart_delay_s(failures) for failures in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert patience.restart_delay_s(10**6) == 30


def test_a_counter_that_moves_is_progress() -> None:
    progress = Progress(100)
    progress.note(Stats(step=1, running=1), 110)
    assert progress.stalled_s(115) == 5


def test_beats_with_a_frozen_counter_are_no_progress_while_requests_run_or_wait() -> None:
    progress = Progress(100)
    progress.note(Stats(step=1, running=1), 110)
    progress.note(Stats(step=1, running=1), 140)
    progress.note(Stats(step=1, waiting=1), 150)
    assert progress.stalled_s(150) == 40


def test_an_idle_engine_gets_on_by_saying_so() -> None:
    progress = Progress(100)
    progress.note(Stats(step=7), 110)
    progress.note(Stats(step=7), 500)
    assert progress.stalled_s(501) == 1
