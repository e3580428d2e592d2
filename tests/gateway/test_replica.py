from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from espalier.engine.errors import CheckpointError, DoesNotFitError, EngineDiedError, RequestError
from espalier.engine.messages import Generate, Output, SamplingParams
from espalier.engine.options import EngineOptions
from espalier.engine.process import BEAT_S
from espalier.engine.scripted_engine import HANG_TOKEN, MISSING_MODEL, POISON_TOKEN, SLOW_TOKEN, VOCAB_SIZE
from espalier.gateway.engine_client import DrainingError, EngineClient, UnavailableError, new_request_id
from espalier.gateway.liveness import Patience
from espalier.gateway.replica import Replica

pytestmark = pytest.mark.anyio

SCRIPTED = (sys.executable, "-P", "-m", "espalier.engine.scripted_engine")
QUICK = Patience(first_restart_s=0.01, grace_s=5)
WAIT_S = 30


def scripted(options: EngineOptions | None = None, patience: Patience = QUICK) -> Replica:
    return Replica(options or EngineOptions(), command=SCRIPTED, patience=patience)


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    async with scripted() as running:
        yield running
    assert running.pid is None
    assert {task.get_name() for task in asyncio.all_tasks()}.isdisjoint({"replica"})


def ask(token_ids: list[int], max_tokens: int | None = None, request_id: str | None = None) -> Generate:
    return Generate(request_id or new_request_id(), token_ids, SamplingParams(max_tokens=max_tokens))


def endless() -> Generate:
    return ask([1] * 100, 10**9)


async def answer(client: EngineClient, request: Generate) -> list[Output]:
    return [output async for output in client.generate(request)]


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(WAIT_S):
        while not condition():  # noqa: ASYNC110 - what is awaited is another process's end, which tells nobody
            await anyio.sleep(0.001)


async def restarted(replica: Replica, pid: int | None) -> None:
    """Return once a life after that of `pid` serves."""
    await until(lambda: replica.ready is not None and replica.pid != pid)


def text(outputs: list[Output]) -> str:
    return "".join(output.text for output in outputs)


def kill(replica: Replica) -> None:
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGKILL)


async def test_it_is_an_engine_client_that_answers(replica: Replica) -> None:
    client: EngineClient = replica
    assert client.ready is not None
    assert client.ready.model == "scripted"
    assert client.is_alive
    outputs = await answer(client, ask([5, 6, 7]))
    assert text(outputs) == "5 6 7 "
    assert outputs[-1].finish_reason == "length"
    assert [output.finish_reason for output in outputs[:-1]] == [None] * (len(outputs) - 1)


async def test_a_thousand_quick_requests_get_their_own_answers(replica: Replica) -> None:
    requests = [ask([number % VOCAB_SIZE or 1, 2]) for number in range(1000)]
    for request in requests:
        odd = (POISON_TOKEN, HANG_TOKEN, SLOW_TOKEN)
        request.token_ids[:] = [token for token in request.token_ids if token not in odd]
    answers = await asyncio.gather(*(answer(replica, request) for request in requests))
    for request, outputs in zip(requests, answers, strict=True):
        assert text(outputs) == "".join(f"{token} " for token in request.token_ids)
    assert replica.stats.running == 0


async def test_a_slow_reader_gets_everything_merged(replica: Replica) -> None:
    slow = replica.generate(ask([1, 2, 3], 3000))
    outputs = [await anext(slow)]
    quick = await answer(replica, ask([4], 4000))
    outputs += [output async for output in slow]
    assert len(outputs) < 1000
    assert text(outputs) == "1 2 3 " * 1000
    assert [token for output in outputs for token in output.token_ids] == [1, 2, 3] * 1000
    assert text(quick) == "4 " * 4000


async def test_a_refused_request_raises_and_the_others_go_on(replica: Replica) -> None:
    good = replica.generate(ask([1], 1000))
    said = [await anext(good)]
    with pytest.raises(RequestError, match="token ids must be under") as caught:
        await answer(replica, ask([VOCAB_SIZE]))
    assert caught.value.param == "prompt"
    assert text(said + [output async for output in good]) == "1 " * 1000


async def test_a_request_id_that_runs_already_is_refused_and_free_again_afterwards(replica: Replica) -> None:
    async with aclosing(replica.generate(ask([1], 10**9, "twin"))) as running:
        await anext(running)
        with pytest.raises(RequestError) as caught:
            await answer(replica, ask([1], None, "twin"))
        assert caught.value.param == "request_id"
    assert text(await answer(replica, ask([1], None, "twin"))) == "1 "


async def test_a_request_too_large_for_a_frame_is_refused_alone(replica: Replica) -> None:
    with pytest.raises(RequestError, match="too large"):
        await answer(replica, ask([2**31 - 1] * (13 * 2**20)))
    assert text(await answer(replica, ask([1]))) == "1 "


async def test_closing_the_generator_frees_the_slots_before_it_returns(replica: Replica) -> None:
    async with aclosing(replica.generate(endless())) as outputs:
        await anext(outputs)
        assert replica.stats.slots_used >= 100
    assert (replica.stats.slots_used, replica.stats.running) == (0, 0)


async def test_abort_returns_when_the_slots_are_free_and_ends_the_generator(replica: Replica) -> None:
    request = endless()
    outputs = replica.generate(request)
    await anext(outputs)
    await replica.abort(request.request_id)
    assert replica.stats.slots_used == 0
    *_, last = [output async for output in outputs]
    assert last.finish_reason == "abort"
    await replica.abort(request.request_id)
    await replica.abort("unknown")


@pytest.mark.parametrize("seed", range(3))
async def test_cancelling_at_random_points_leaves_no_slot_and_no_task(replica: Replica, seed: int) -> None:
    rng = random.Random(seed)
    before = asyncio.all_tasks()
    tasks = [asyncio.create_task(answer(replica, endless())) for _ in range(50)]
    rng.shuffle(tasks)
    for task in tasks:
        for _ in range(rng.randrange(5)):
            await asyncio.sleep(0)
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=WAIT_S)
    assert len(done) == 50
    assert all(task.cancelled() for task in done)
    assert asyncio.all_tasks() == before
    assert text(await answer(replica, ask([1]))) == "1 "
    assert replica.stats.slots_used == 0


async def test_a_cancel_scope_is_left_only_when_the_slots_are_free(replica: Replica) -> None:
    started = anyio.Event()

    async def read() -> None:
        async with aclosing(replica.generate(endless())) as outputs:
            async for _ in outputs:
                started.set()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await started.wait()
        group.cancel_scope.cancel()
    assert replica.stats.slots_used == 0


async def test_a_killed_engine_fails_what_runs_and_the_next_request_works(replica: Replica) -> None:
    first = replica.pid
    streams = [replica.generate(endless()) for _ in range(3)]
    for stream in streams:
        await anext(stream)
    kill(replica)
    for stream in streams:
        with pytest.raises(EngineDiedError) as caught:
            await read_on(stream)
        assert caught.value.retriable
    assert replica.is_alive
    await restarted(replica, first)
    assert text(await answer(replica, ask([1, 2]))) == "1 2 "


async def read_on(outputs: AsyncIterator[Output]) -> None:
    async for _ in outputs:
        pass


async def test_a_poisoned_step_ends_that_life_and_not_the_replica(replica: Replica) -> None:
    for _ in range(3):
        pid = replica.pid
        with pytest.raises(EngineDiedError):
            await answer(replica, ask([POISON_TOKEN]))
        await restarted(replica, pid)
    assert text(await answer(replica, ask([1]))) == "1 "


async def test_an_abort_while_the_engine_dies_returns(replica: Replica) -> None:
    request = endless()
    outputs = replica.generate(request)
    await anext(outputs)
    kill(replica)
    with anyio.fail_after(WAIT_S):
        await replica.abort(request.request_id)
    with pytest.raises(EngineDiedError):
        await read_on(outputs)


async def test_new_requests_are_retriable_while_it_restarts() -> None:
    async with scripted(patience=Patience(first_restart_s=1000, last_restart_s=1000)) as replica:
        kill(replica)
        with pytest.raises(EngineDiedError):
            await answer(replica, endless())
        await until(lambda: replica.pid is None)
        with pytest.raises(UnavailableError) as caught:
            await answer(replica, ask([1]))
        assert 900 < caught.value.retry_after_s < 1100
        assert replica.ready is None
        assert replica.is_alive


FAILS_WHILE_A_FILE_EXISTS = """
import pathlib, sys
from espalier.engine import process, scripted_engine
fails = pathlib.Path(sys.argv[1]).exists()
sys.exit(process.main(sys.argv[2:], (lambda options: 1 / 0) if fails else scripted_engine.ScriptedEngine))
"""


async def test_a_restart_that_fails_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reason = tmp_path / "reason"
    command = (sys.executable, "-P", "-c", FAILS_WHILE_A_FILE_EXISTS, str(reason))
    async with Replica(EngineOptions(), command=command, patience=QUICK) as replica:
        reason.touch()
        first = replica.pid
        kill(replica)
        await until(lambda: caplog.messages.count("engine_failed") >= 2)
        assert replica.ready is None
        assert replica.is_alive
        reason.unlink()
        await restarted(replica, first)
        assert text(await answer(replica, ask([1]))) == "1 "


async def test_a_start_that_fails_raises_the_engines_own_error() -> None:
    replica = scripted(EngineOptions(model=MISSING_MODEL))
    with pytest.raises(CheckpointError, match="no checkpoint at 'missing'"):
        await replica.start()
    assert not replica.is_alive
    assert replica.ready is None


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ((sys.executable, "-c", "import os; os.abort()"), "SIGABRT"),
        ((sys.executable, "-c", "raise SystemExit(3)"), "exit status 3"),
        (("/no/such/program",), "can't be made"),
    ],
)
async def test_a_process_that_ends_before_it_is_ready_is_an_error(command: tuple[str, ...], reason: str) -> None:
    with pytest.raises(EngineDiedError, match=reason):
        await Replica(EngineOptions(), command=command).start()


async def test_a_start_that_is_cancelled_leaves_no_process() -> None:
    replica = Replica(EngineOptions(), command=(sys.executable, "-c", "import threading; threading.Event().wait()"))
    starting = asyncio.create_task(replica.start())
    await until(lambda: replica.pid is not None)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert replica.pid is None
    assert not replica.is_alive


async def test_a_drain_lets_running_requests_finish_and_refuses_new_ones(replica: Replica) -> None:
    outputs = replica.generate(ask([1], 20_000))
    said = [await anext(outputs)]
    draining = asyncio.create_task(replica.drain(WAIT_S))
    await asyncio.sleep(0)
    with pytest.raises(DrainingError):
        await answer(replica, ask([1]))
    assert replica.ready is None
    assert replica.is_alive
    said += [output async for output in outputs]
    assert text(said) == "1 " * 20_000
    await draining
    assert not replica.is_alive


async def test_a_drain_that_runs_out_of_time_aborts_the_rest(replica: Replica) -> None:
    outputs = replica.generate(endless())
    said = [await anext(outputs)]
    await replica.drain(0.01)
    said += [output async for output in outputs]
    assert said[-1].finish_reason == "abort"


async def test_a_drain_ends_an_engine_that_hangs() -> None:
    replica = scripted(patience=Patience(grace_s=0.1))
    await replica.start()
    hung = asyncio.create_task(answer(replica, ask([HANG_TOKEN])))
    await asyncio.wait({hung}, timeout=BEAT_S)
    with anyio.fail_after(WAIT_S):
        await replica.drain(0.1)
    with pytest.raises(EngineDiedError):
        await hung


async def test_it_is_not_alive_when_the_step_counter_is_frozen_and_alive_when_idle() -> None:
    now = 0.0
    replica = Replica(EngineOptions(), command=SCRIPTED, patience=Patience(grace_s=0.1), clock=lambda: now)
    async with replica:
        now = 100.0
        await until(lambda: replica.is_alive)  # by a beat
        hung = asyncio.create_task(answer(replica, ask([HANG_TOKEN])))
        await asyncio.wait({hung}, timeout=2 * BEAT_S)  # so that no beat is still on its way
        now = 129.0
        assert replica.is_alive
        now = 131.0
        assert not replica.is_alive
    with pytest.raises(EngineDiedError):
        await hung


async def test_an_engine_that_hangs_for_too_long_is_restarted() -> None:
    async with scripted(patience=Patience(stall_s=0.1, kill_s=0.2, first_restart_s=0.01)) as replica:
        first = replica.pid
        with pytest.raises(EngineDiedError), anyio.fail_after(WAIT_S):
            await answer(replica, ask([HANG_TOKEN]))
        await restarted(replica, first)
        assert text(await answer(replica, ask([1]))) == "1 "


@pytest.fixture
def bundled() -> EngineOptions:
    return EngineOptions(kv_memory_bytes=2**24, threads=1)


async def test_the_real_engine_answers_refuses_and_frees_its_slots(bundled: EngineOptions) -> None:
    async with Replica(bundled) as replica:
        assert replica.ready is not None
        assert {row.name for row in replica.ready.fit} >= {"weights", "KV slots"}
        greedy = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True)
        answers = await asyncio.gather(*(answer(replica, Generate(str(n), [1, 2, 3], greedy)) for n in range(8)))
        assert [outputs[-1].usage.completion_tokens for outputs in answers] == [8] * 8
        with pytest.raises(RequestError) as caught:
            await answer(replica, Generate("nan", [1], SamplingParams(temperature=float("nan"))))
        assert caught.value.param == "temperature"
        async with aclosing(replica.generate(ask([1, 2, 3], 1000))) as outputs:
            await anext(outputs)
        assert replica.stats.running == 0
        assert replica.stats.slots_used == replica.stats.slots_cached


async def test_the_real_engine_says_why_it_can_not_start(bundled: EngineOptions) -> None:
    with pytest.raises(DoesNotFitError):
        await Replica(replace(bundled, kv_memory_bytes=1)).start()
