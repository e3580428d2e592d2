"""Answers as events, of any kind and in any chunks, for the tests of what renders them."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from espalier.engine.messages import Usage
from espalier.gateway.answer_event import (
    AnswerEvent,
    ArgumentsDelta,
    CallBegun,
    CallEnded,
    Finished,
    ReasoningDelta,
    TextDelta,
)

USAGE = Usage(9, 4, 5)


@dataclass(frozen=True)
class Whole:
    """An answer: what it holds, whatever the chunks. The last of `calls` was cut where `is_cut`."""

    reasoning: str = ""
    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    is_cut: bool = False

    def events(self, size: int = 10**9) -> list[AnswerEvent]:
        """Its events, in chunks of at most `size` characters."""
        events: list[AnswerEvent] = [ReasoningDelta(chunk) for chunk in chunks(self.reasoning, size)]
        events += [TextDelta(chunk) for chunk in chunks(self.text, size)]
        for at, (name, arguments) in enumerate(self.calls):
            events.append(CallBegun(at, f"call_{at}", name))
            events += [ArgumentsDelta(at, chunk) for chunk in chunks(arguments, size)]
            if not self.is_cut or at < len(self.calls) - 1:
                events.append(CallEnded(at, f"call_{at}", name, arguments))
        reason = "length" if self.is_cut else "tool_calls" if self.calls else "stop"
        return [*events, Finished(reason, USAGE)]  # type: ignore[arg-type]


def chunks(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


_TEXT = st.text(max_size=12)
_ARGUMENTS = st.dictionaries(st.sampled_from("abc"), st.one_of(st.integers(), _TEXT), max_size=2)
_CALLS = st.lists(st.tuples(st.sampled_from(["look_up", "book"]), _ARGUMENTS), max_size=3)


def wholes() -> st.SearchStrategy[Whole]:
    """Any answer."""
    import json

    return st.builds(
        lambda reasoning, text, calls, is_cut: Whole(
            reasoning, text, tuple((name, json.dumps(arguments)) for name, arguments in calls), is_cut
        ),
        _TEXT, _TEXT, _CALLS, st.booleans(),
    )  # fmt: skip
