"""A short way from a thread to the end of the answer, and its tokens."""

from __future__ import annotations

from typing import TypeAlias

from espalier.grammar.part import SpecialState
from espalier.grammar.thread import END, Sequel, Thread, behind
from espalier.grammar.trie import TokenTrie

Completion: TypeAlias = tuple[bytes | int, ...]  # bytes and special tokens
_MOST_FRAMES = 100_000


def completion(thread: Thread) -> Completion:
    """A short completion of a thread."""
    found: list[bytes | int] = []
    for _ in range(_MOST_FRAMES):
        if thread.state is END:
            return _joined(found)
        frame = thread.frame
        assert frame is not None
        tail, outcome = thread.state.completion()
        found.append(thread.state.token if isinstance(thread.state, SpecialState) else tail)
        tape = thread.tape
        for byte in tail if frame.is_recording else b"":
            tape = (tape, byte)
        if isinstance(frame.back, Sequel):
            thread = frame.back.begin(frame.outer)[0]
        else:
            thread = Thread(*behind(frame, outcome, tape))
    raise AssertionError("a completion without end")


def _joined(parts: list[bytes | int]) -> Completion:
    """Bytes in a row as one."""
    found: list[bytes | int] = []
    for part in parts:
        if isinstance(part, bytes) and found and isinstance(found[-1], bytes):
            found[-1] += part
        elif part != b"":
            found.append(part)
    return tuple(found)


def spelled(trie: TokenTrie, text: bytes) -> list[int]:
    """The fewest tokens that spell a text. ValueError if none do."""
    size = len(text)
    fewest, first = [size + 1] * size + [0], [-1] * size  # by place: tokens from there on, and the first of them
    ends = [0] * size
    for start in range(size - 1, -1, -1):
        node = 0
        for place in range(start, size):
            node = trie.child(node, text[place])
            if node < 0:
                break
            tokens = trie.at(node)
            if tokens.size and fewest[place + 1] + 1 < fewest[start]:
                fewest[start], first[start], ends[start] = fewest[place + 1] + 1, int(tokens[0]), place + 1
    found, place = list[int](), 0
    while place < size:
        if first[place] < 0:
            raise ValueError(f"no token spells {text[place : place + 1]!r}")
        found.append(first[place])
        place = ends[place]
    return found
