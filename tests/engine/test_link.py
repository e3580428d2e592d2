from __future__ import annotations

import socket

import pytest

from espalier.engine.errors import FrameError
from espalier.engine.frames import encode
from espalier.engine.link import Link, LinkClosedError
from espalier.engine.messages import Abort, Drain, Drained, Output, Stats, StepOutputs


def test_messages_that_came_together_are_received_together_and_a_part_waits_for_its_rest() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = Link(theirs)
        frames = encode(Abort("r")) + encode(Drain())
        ours.sendall(frames + frames[:7])
        assert link.receive(1) == [Abort("r"), Drain()]
        ours.sendall(frames[7:])
        assert link.receive(1) == [Abort("r"), Drain()]
        assert link.receive(0) == []


def test_garbage_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"\xff" * 10)
        with pytest.raises(FrameError):
            Link(theirs).receive(1)


def flood(link: Link) -> None:
    for _ in range(10**6):
        link.send(StepOutputs([Output("r", "x" * 10_000)], Stats()))


def test_a_gateway_that_stops_reading_does_not_block_the_loop_for_good() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link = Link(theirs, send_timeout_s=0.05)
        with pytest.raises(LinkClosedError, match="stopped reading"):
            flood(link)


def test_a_link_whose_gateway_is_gone_says_so_on_both_ways() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        link = Link(theirs)
        assert link.receive(0) == []
        ours.close()
        with pytest.raises(LinkClosedError):
            link.receive(0)
        with pytest.raises(LinkClosedError):
            link.send(Drained())
