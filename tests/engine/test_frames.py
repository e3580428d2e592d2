from __future__ import annotations

import random

import msgspec
import pytest

from espalier.engine.errors import FrameError
from espalier.engine.frames import FrameReader, encode
from espalier.engine.messages import (
    Abort,
    Beat,
    Drain,
    Drained,
    Failed,
    FitRow,
    FromEngine,
    Generate,
    Output,
    Ready,
    SamplingParams,
    Stats,
    StepOutputs,
    ToEngine,
    TokenLogprob,
    TopLogprob,
    Usage,
)
from espalier.grammar import Json, Sequence, Text

TO_ENGINE: list[ToEngine] = [
    Generate("r1", [1, 2, 3], SamplingParams(stop=("a", "b"), logit_bias=((1, -2.5),)), tenant="acme"),
    Generate("", []),
    Generate(
        "r2", [1], SamplingParams(constraint=Sequence((Text(until=b"</a>"), Json({"type": "integer"}, part="b"))))
    ),
    Abort("r1"),
    Drain(),
]
FROM_ENGINE: list[FromEngine] = [
    Ready("tiny", 4096, 1000, 65536, 256, [FitRow("weights", "1.0 GiB")]),
    StepOutputs(
        [Output("r1", "é…", [7], [TokenLogprob(7, -0.5, (TopLogprob(7, -0.5),))], "stop", 13, Usage(3, 0, 1))],
        Stats(step=3, running=1),
    ),
    StepOutputs([], Stats()),
    Beat(Stats(step=4)),
    Failed("checkpoint_error", "no config.json"),
    Drained(),
]


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


def test_every_message_comes_back_as_it_was() -> None:
    requests: FrameReader[ToEngine] = FrameReader(ToEngine)
    answers: FrameReader[FromEngine] = FrameReader(FromEngine)
    assert requests.feed(b"".join(map(encode, TO_ENGINE))) == TO_ENGINE
    assert answers.feed(b"".join(map(encode, FROM_ENGINE))) == FROM_ENGINE
    assert requests.is_between_frames
    assert answers.is_between_frames


@pytest.mark.parametrize("seed", range(20))
def test_the_chunking_of_the_stream_does_not_matter(seed: int) -> None:
    rng = random.Random(seed)
    sent = [rng.choice(FROM_ENGINE) for _ in range(50)]
    stream = b"".join(map(encode, sent))
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.choice([0, 3, 200, len(stream)])))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    reader: FrameReader[FromEngine] = FrameReader(FromEngine)
    assert [message for chunk in chunks for message in reader.feed(chunk)] == sent
    assert reader.is_between_frames


def test_a_length_is_four_bytes_big_endian() -> None:
    assert encode(Drain()) == frame(msgspec.msgpack.encode({"kind": "drain"}))


def test_a_stream_that_ends_inside_a_frame_is_not_between_frames() -> None:
    reader: FrameReader[ToEngine] = FrameReader(ToEngine)
    assert reader.feed(encode(Abort("r1"))[:-1]) == []
    assert not reader.is_between_frames


@pytest.mark.parametrize("length", [65, 2**31, 2**32 - 1])
def test_a_frame_over_the_limit_is_refused_before_its_bytes_come(length: int) -> None:
    reader: FrameReader[ToEngine] = FrameReader(ToEngine, max_bytes=64)
    with pytest.raises(FrameError, match="longer than the limit of 64"):
        reader.feed(length.to_bytes(4, "big"))


def test_a_frame_at_the_limit_is_read_and_one_byte_more_is_not_written() -> None:
    message = Abort("r" * 50)
    length = len(encode(message)) - 4
    assert FrameReader[ToEngine](ToEngine, max_bytes=length).feed(encode(message, max_bytes=length)) == [message]
    with pytest.raises(FrameError, match="Abort"):
        encode(message, max_bytes=length - 1)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x93" * 10_000,
        msgspec.msgpack.encode({"kind": "explode"}),
        msgspec.msgpack.encode({"kind": "abort"}),
        msgspec.msgpack.encode({"kind": "abort", "request_id": 5}),
        msgspec.msgpack.encode({"kind": "ready", "model": "x"}),
        msgspec.msgpack.encode({"kind": "generate", "request_id": "r", "token_ids": ["a"]}),
        msgspec.msgpack.encode(Drain()) + b"\x00",
        b"\x82\xa4kind\xa5abort\xaarequest_id\xa1\xff",
    ],
)
def test_a_payload_that_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError, match="no known message"):
        FrameReader[ToEngine](ToEngine).feed(frame(payload))


@pytest.mark.parametrize("seed", range(50))
def test_random_bytes_are_refused_or_wait_for_more(seed: int) -> None:
    reader: FrameReader[ToEngine] = FrameReader(ToEngine, max_bytes=2**16)
    rng = random.Random(seed)
    try:
        assert reader.feed(b"\x00\x00" + rng.randbytes(2**17)) == []
    except FrameError:
        return
    assert not reader.is_between_frames
