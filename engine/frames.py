"""Messages on a byte stream: each is its length as four bytes, big endian, and then msgpack.

`FrameReader` owns the cutting and knows no socket, so blocking and asyncio sockets share it. Invariant: no more than
one frame's limit and one chunk is ever buffered, whatever the peer sends.
"""

from __future__ import annotations

import struct
from typing import Any, Generic, TypeVar

import msgspec

from espalier.engine.errors import FrameError
from espalier.engine.messages import Message

MAX_FRAME_BYTES = 64 * 2**20
_LENGTH = struct.Struct(">I")
_ENCODER = msgspec.msgpack.Encoder()

M = TypeVar("M")


def encode(message: Message, *, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """One frame. Raises FrameError if it would be longer than the other side reads."""
    frame = bytearray(_LENGTH.size)
    _ENCODER.encode_into(message, frame, _LENGTH.size)
    length = len(frame) - _LENGTH.size
    if length > max_bytes:
        raise FrameError(f"a frame of {length} bytes is longer than the limit of {max_bytes}: {type(message).__name__}")
    _LENGTH.pack_into(frame, 0, length)
    return bytes(frame)


class FrameReader(Generic[M]):
    """Cuts a byte stream into messages of the union `kinds`, for example `FrameReader[ToEngine](ToEngine)`."""

    def __init__(self, kinds: Any, *, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(kinds)
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[M]:
        """Take the next bytes of the stream; return the messages that they complete.

        Raises FrameError on a frame over the limit, as soon as its length is read, and on one that is no such message;
        the stream can't be read on after that.
        """
        self._buffer += data
        messages: list[M] = []
        start = 0
        while (end := self._frame_end(start)) is not None:
            messages.append(self._decode(memoryview(self._buffer)[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return messages

    @property
    def is_between_frames(self) -> bool:
        """Whether the stream may end here without cutting a frame."""
        return not self._buffer

    def _frame_end(self, start: int) -> int | None:
        """Where the frame that starts at `start` ends, None if that lies beyond the buffer."""
        if len(self._buffer) < start + _LENGTH.size:
            return None
        length: int = _LENGTH.unpack_from(self._buffer, start)[0]
        if length > self._max_bytes:
            raise FrameError(f"a frame of {length} bytes is longer than the limit of {self._max_bytes}")
        end = start + _LENGTH.size + length
        return end if end <= len(self._buffer) else None

    def _decode(self, payload: memoryview) -> M:
        try:
            return self._decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise FrameError(f"a frame is no known message: {error}") from error
        finally:
            payload.release()
