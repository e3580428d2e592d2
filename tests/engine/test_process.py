from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from espalier.engine.frames import FrameReader, encode
from espalier.engine.link import Link
from espalier.engine.messages import (
    Abort,
    Ahead,
    Beat,
    Drain,
    Drained,
    Failed,
    FromEngine,
    Generate,
    Output,
    Ready,
    SamplingParams,
    Stats,
    StepOutputs,
)
from espalier.engine.options import EngineOptions
from espalier.engine.process import EngineLoop
from espalier.engine.scripted_engine import (
    HANG_TOKEN,
    MISSING_MODEL,
    POISON_TOKEN,
    SLOW_TOKEN,
    VOCAB_SIZE,
    ScriptedEngine,
)

SCRIPTED = (sys.executable, "-P", "-m", "espalier.engine.scripted_engine")
ENDLESS = SamplingParams(max_tokens=10**9)
WAIT_S = 30


class Peer:
    """An engine process as the gateway would see it."""

    def __init__(self, command: Sequence[str] = SCRIPTED, options: EngineOptions | None = None) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(WAIT_S)
        with theirs:
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno()), msgspec.json.encode(options or EngineOptions()).decode()],
                pass_fds=[theirs.fileno()],
                stderr=subprocess.PIPE,
            )
        self._frames: FrameReader[FromEngine] = FrameReader(FromEngine)
        self._unread: deque[FromEngine] = deque()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def messages(self) -> Iterator[FromEngine]:
        """Until the end of the stream. A reader that stops early leaves the rest to the next one."""
        while True:
            while self._unread:
                yield self._unread.popleft()
            if not (data := self.socket.recv(2**16)):
                return
            self._unread.extend(self._frames.feed(data))

    def outputs(self, request_id: str) -> Iterator[tuple[Output, Stats]]:
        for message in self.messages():
            if isinstance(message, StepOutputs):
                yield from ((output, message.stats) for output in message.outputs if output.request_id == request_id)

    def last(self, request_id: str) -> tuple[Output, Stats]:
        return next(pair for pair in self.outputs(request_id) if pair[0].finish_reason is not None)

    def ended(self) -> tuple[int, str]:
        """Exit status and what it logged."""
        _, log = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, log.decode()


@pytest.fixture
def spawn() -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def make(*arguments: object) -> Peer:
        peers.append(Peer(*arguments))  # type: ignore[arg-type]
        return peers[-1]

    yield make
    for peer in peers:
        peer.socket.close()
        peer.process.kill()
        peer.process.communicate()


def test_it_says_ready_answers_and_after_a_drain_says_drained_and_ends(spawn: Callable[..., Peer]) -> None:
    peer = spawn()
    peer.send(encode(Generate("r", [5, 6, 7])) + encode(Drain()))
    said = [message for message in peer.messages() if not isinstance(message, Beat)]
    assert isinstance(said[0], Ready)
    outputs = [output for message in said if isinstance(message, StepOutputs) for output in message.outputs]
    assert "".join(output.text for output in outputs) == "5 6 7 "
    assert outputs[-1].finish_reason == "length"
    assert said[-1] == Drained()
    assert peer.ended()[0] == 0


def test_a_request_that_takes_long_to_prepare_holds_nobody_up(spawn: Callable[..., Peer]) -> None:
    peer = spawn()
    peer.send(encode(Generate("slow", [SLOW_TOKEN])) + encode(Generate("r", [5, 6, 7])))
    assert peer.last("r")[0].finish_reason == "length"
    peer.send(encode(Generate("again", [5, 6, 7])))
    assert peer.last("again")[0].finish_reason == "length"
    peer.send(encode(Abort("slow")) + encode(Drain()))
    assert peer.last("slow")[0].finish_reason == "abort"
    assert list(peer.messages())[-1] == Drained()
    assert peer.ended()[0] == 0


def test_what_comes_next_is_computed_ahead_and_told_to_nobody_who_knows_it(spawn: Callable[..., Peer]) -> None:
    peer = spawn()
    peer.send(encode(Ahead([5, 6, 7])) + encode(Ahead([])) + encode(Generate("r", [5, 6, 7])) + encode(Drain()))
    said = [output for message in peer.messages() if isinstance(message, StepOutputs) for output in message.outputs]
    ahead = [output for output in said if output.request_id != "r"]
    assert [(output.text, output.finish_reason) for output in ahead if not output.error_code] == [("5 ", "length")]
    assert "".join(output.text for output in said if output.request_id == "r") == "5 6 7 "
    assert peer.ended()[0] == 0


def test_it_beats_while_it_has_nothing_to_do(spawn: Callable[..., Peer]) -> None:
    messages = spawn().messages()
    assert isinstance(next(messages), Ready)
    assert [next(messages), next(messages)] == [Beat(Stats(slots_total=2**20))] * 2


def test_it_stops_beating_when_a_step_hangs(spawn: Callable[..., Peer]) -> None:
    peer = spawn()
    peer.send(encode(Generate("r", [HANG_TOKEN])))
    peer.socket.settimeout(2)
    with pytest.raises(TimeoutError):
        list(peer.messages())


def test_an_error_at_the_start_is_said_by_code_and_its_traceback_only_logged(spawn: Callable[..., Peer]) -> None:
    peer = spawn(SCRIPTED, EngineOptions(model=MISSING_MODEL))
    assert list(peer.messages()) == [Failed("checkpoint_error", "no checkpoint at 'missing'")]
    status, log = peer.ended()
    assert status == 1
    record = msgspec.json.decode(log)
    assert (record["level"], record["event"]) == ("error", "start_failed")
    assert "Traceback" in record["exception"]


def test_an_unforeseen_error_at_the_start_is_said_too(spawn: Callable[..., Peer]) -> None:
    code = (
        "import sys; from espalier.engine import process; sys.exit(process.main(sys.argv[1:], lambda options: 1 / 0))"
    )
    [failed] = spawn((sys.executable, "-P", "-c", code)).messages()
    assert isinstance(failed, Failed)
    assert failed.message == "the engine could not start: ZeroDivisionError: division by zero"


def test_a_refused_request_ends_alone(spawn: Callable[..., Peer]) -> None:
    peer = spawn()
    peer.send(encode(Generate("good", [1], ENDLESS)) + encode(Generate("bad", [VOCAB_SIZE])))
    output, stats = peer.last("bad")
    assert (output.finish_reason, output.error_code, output.error_param) == ("error", "invalid_request", "prompt")
    assert not output.retriable
    assert stats.running == 1
    assert next(peer.outputs("good"))[0].text == "1 "


def test_an_abort_is_answered_when_the_slots_are_free(spawn: Callable[..., Peer]) -> None:
    peer = spawn()
    peer.send(encode(Generate("r", [1] * 100, ENDLESS)))
    assert next(peer.outputs("r"))[1].slots_used > 100
    peer.send(encode(Abort("unknown")) + encode(Abort("r")))
    output, stats = peer.last("r")
    assert (output.finish_reason, stats.slots_used) == ("abort", 0)


def test_a_step_that_raises_ends_the_process_with_a_traceback_in_its_log(spawn: Callable[..., Peer]) -> None:
    peer = spawn()
    peer.send(encode(Generate("r", [POISON_TOKEN])))
    list(peer.messages())
    status, log = peer.ended()
    assert status == 1
    assert "a poisoned prompt" in msgspec.json.decode(log)["exception"]


def test_what_it_logs_is_one_json_line_a_record_with_the_fields_given(spawn: Callable[..., Peer]) -> None:
    code = """if True:
        import logging, sys, warnings
        from espalier.engine import process
        def build(options):
            logging.getLogger("engine").error("failed\\n", extra={"event": "request_failed", "request": "r", "odd": 1j})
            warnings.warn("old")
            raise KeyboardInterrupt
        sys.exit(process.main(sys.argv[1:], build))
    """
    _, log = spawn((sys.executable, "-P", "-c", code)).ended()
    first, second = (msgspec.json.decode(line) for line in log.splitlines()[:2])
    assert first == {"event": "request_failed", "request": "r", "odd": "1j", "level": "error", "source": "engine"}
    assert "old" in second["event"]


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1", encode(Beat(Stats()))])
def test_garbage_from_the_gateway_ends_the_process(spawn: Callable[..., Peer], garbage: bytes) -> None:
    peer = spawn()
    peer.send(garbage)
    status, log = peer.ended()
    assert status == 1
    assert "FrameError" in msgspec.json.decode(log)["exception"]


@pytest.mark.parametrize("requests", [[], [Generate("r", [1], ENDLESS)]])
def test_it_ends_when_the_socket_closes(spawn: Callable[..., Peer], requests: list[Generate]) -> None:
    peer = spawn()
    assert isinstance(next(peer.messages()), Ready)
    peer.send(b"".join(map(encode, requests)))
    peer.socket.close()
    assert peer.ended()[0] == 0


def test_ctrl_c_is_left_to_the_gateway_and_sigterm_drains(spawn: Callable[..., Peer]) -> None:
    peer = spawn()
    peer.send(encode(Generate("r", [1, 2], SamplingParams(max_tokens=20_000))))
    answer = peer.outputs("r")
    texts = [next(answer)[0].text]
    peer.process.send_signal(signal.SIGINT)
    peer.process.send_signal(signal.SIGTERM)
    texts += [output.text for output, _ in answer]
    assert "".join(texts) == "1 2 " * 10_000
    assert peer.ended()[0] == 0


PARENT = """
import os, signal, socket, subprocess, sys, msgspec
from espalier.engine.frames import encode
from espalier.engine.messages import Generate
from espalier.engine.options import EngineOptions
ours, theirs = socket.socketpair()
options = msgspec.json.encode(EngineOptions()).decode()
child = subprocess.Popen([*sys.argv[2:], str(theirs.fileno()), options], pass_fds=[theirs.fileno()])
theirs.close()
ours.recv(1)
ours.sendall(encode(Generate("r", [int(sys.argv[1])])))
ours.recv(1)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    "token_id", [1, pytest.param(HANG_TOKEN, marks=pytest.mark.skipif(sys.platform != "linux", reason="prctl"))]
)
def test_it_ends_when_its_parent_is_killed(token_id: int) -> None:
    command = [sys.executable, "-P", "-c", PARENT, str(token_id), *SCRIPTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        # Both inherit the pipe, so its end comes when both are gone.
        parent.communicate(timeout=WAIT_S)
    assert parent.returncode == -signal.SIGKILL


class InterruptedEngine(ScriptedEngine):
    """The gateway changes its mind while a step is computed."""

    gateway: socket.socket

    def step(self, arrivals: Callable[[], None] | None = None) -> StepOutputs:
        self.gateway.sendall(encode(Abort("a")) + encode(Drain()))
        return super().step(arrivals)


def test_what_comes_while_a_step_is_computed_is_heeded_before_the_next_is_planned() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(encode(Generate("a", [1], ENDLESS)))
        engine = InterruptedEngine(EngineOptions())
        engine.gateway = ours
        EngineLoop(engine, Link(theirs)).run()
        said = FrameReader[FromEngine](FromEngine).feed(ours.recv(2**16))
    outputs = [output for message in said if isinstance(message, StepOutputs) for output in message.outputs]
    assert [(output.request_id, output.finish_reason) for output in outputs] == [("a", "abort")]


class BrokenEngine(ScriptedEngine):
    def submit(self, request: Generate) -> None:
        raise ZeroDivisionError


def test_an_unforeseen_error_at_submit_ends_one_request_and_a_late_one_is_retriable() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(encode(Generate("a", [1])) + encode(Drain()) + encode(Generate("b", [1])))
        EngineLoop(BrokenEngine(EngineOptions()), Link(theirs)).run()
        said = FrameReader[FromEngine](FromEngine).feed(ours.recv(2**16))
    steps = [message for message in said if isinstance(message, StepOutputs)]
    a, b = (step.outputs[0] for step in steps)
    assert (a.request_id, a.error_code, a.retriable) == ("a", "engine_error", False)
    assert (b.request_id, b.error_code, b.retriable) == ("b", "engine_died", True)
    assert "Zero" not in (a.error_message or "")
    assert said[-1] == Drained()


def test_the_process_module_loads_no_torch() -> None:
    code = "import sys, espalier.engine.process, espalier.gateway.replica; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
