"""Server-sent events, by the rules of the standard and by its own examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.gateway.sdk import StreamError
from espalier.gateway.sdk.sse import EventReader, ServerEvent


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [ServerEvent("YHOO\n+2\n10")]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [ServerEvent("first event", id="1"), ServerEvent("second event"), ServerEvent(" third event")],
        ),
        ("data\n\ndata\ndata\n\ndata:", [ServerEvent(""), ServerEvent("\n")]),
        ("data:test\n\ndata: test\n\n", [ServerEvent("test"), ServerEvent("test")]),
        ("event: add\ndata: 1\n\ndata: 2\n\n", [ServerEvent("1", "add"), ServerEvent("2")]),
        ("id: 1\n\ndata: a\n\ndata: b\nid: 2\n\n", [ServerEvent("a", id="1"), ServerEvent("b", id="2")]),
        ("id: a\0b\ndata: x\n\n", [ServerEvent("x")]),
        ("\ufeffdata: x\n\n", [ServerEvent("x")]),
        ("data: x\r\n\r\ndata: y\r\rdata: z\n\n", [ServerEvent("x"), ServerEvent("y"), ServerEvent("z")]),
        ("retry: 10\nunknown: 1\ndata: x\n\n", [ServerEvent("x")]),
        ("data: cut short\n", []),
    ],
)
def test_events_are_read_as_the_standard_says_whatever_the_pieces(text: str, events: list[ServerEvent]) -> None:
    data = text.encode()
    for size in range(1, len(data) + 1):
        reader = EventReader()
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        assert [event for piece in pieces for event in reader.feed(piece)] == events, size


lines = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n\0"), max_size=5)


@given(st.lists(st.tuples(lines, lines), max_size=5), st.integers(0, 200))
def test_who_goes_on_behind_the_last_id_misses_nothing_wherever_it_broke(sent: list[tuple[str, str]], cut: int) -> None:
    events = [ServerEvent(data, id=f"{number}{name}") for number, (name, data) in enumerate(sent)]
    written = [f"id: {event.id}\ndata: {event.data}\n\n".encode() for event in events]
    reader = EventReader()
    seen = reader.feed(b"".join(written)[:cut])
    start = [event.id for event in events].index(reader.last_id) + 1 if reader.last_id else 0
    assert seen + EventReader(reader.last_id).feed(b"".join(written[start:])) == events


def test_an_event_that_never_ends_is_refused() -> None:
    reader = EventReader(max_event_bytes=100)
    assert reader.feed(b"data: " + b"x" * 90) == []
    with pytest.raises(StreamError, match="longer than"):
        reader.feed(b"x" * 10)
    with pytest.raises(StreamError, match="longer than"):
        EventReader(max_event_bytes=100).feed(b"data: x\n" * 15)


def test_bytes_that_are_no_utf8_are_refused() -> None:
    with pytest.raises(StreamError, match="no UTF-8"):
        EventReader().feed(b"data: \xff\n\n")
