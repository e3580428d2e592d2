"""What of a prompt was warm, what was not, and why: the `espalier.cache` block of an answer. Pure.

The engine says where its tree did not go on, and whether that was ever there. What is new to it may have been known to
the session: then the client has changed its history, or the chat template has written it in another way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from espalier.engine.messages import Missed, Usage
from espalier.gateway.wire.answers import CacheReport, Miss

Cause = Literal["new", "client_history", "template", "evicted", "demoted"]
PER_MILLION = 1e-6


@dataclass(frozen=True, slots=True)
class Price:
    """Money for a million tokens: of a prompt, of a prompt that was warm (None: as any), of an answer."""

    input: float
    cached_input: float | None
    output: float

    def of(self, usage: Usage) -> float:
        """What an answer costs."""
        cached = self.input if self.cached_input is None else self.cached_input
        cold = usage.prompt_tokens - usage.cached_tokens
        total = cold * self.input + usage.cached_tokens * cached + usage.completion_tokens * self.output
        return total * PER_MILLION


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a prompt's tokens come from.

    Its first `kept_len` are a session's as they were, of `history_len` that the turn follows. `left_len` are those of
    the branch that a changed history leaves, 0 if the client did not change it.
    """

    kept_len: int = 0
    history_len: int = 0
    left_len: int = 0


def cause_of(missed: Missed, origin: Origin) -> Cause:
    """Why the prompt was not found from there on."""
    if missed.cause != "new":
        return missed.cause
    if missed.at < origin.left_len:
        return "client_history"
    # What the template rewrote stands from `kept_len` on, where the session's own tokens end earlier than they did.
    rewritten = origin.kept_len < origin.history_len - 1
    return "template" if rewritten and missed.at < origin.history_len else "new"


def report(
    usage: Usage,
    missed: Missed | None,
    origin: Origin,
    *,
    tail: str,
    messages: Sequence[Mapping[str, Any]],
    markers: tuple[str, ...],
    tokens_per_s: float,
) -> CacheReport:
    """The block. `tail` is the prompt's text from the token on that missed; `tokens_per_s` is the measured prefill."""
    device = usage.cached_tokens - usage.host_tokens - usage.disk_tokens
    miss = None
    if missed is not None and 0 <= missed.at < usage.prompt_tokens:
        miss = Miss(missed.at, first_message(messages, tail, markers), cause_of(missed, origin))
    saved_s = round(usage.cached_tokens / tokens_per_s, 6) if tokens_per_s > 0 else None
    return CacheReport(device, usage.host_tokens, usage.disk_tokens, miss, saved_s)


def first_message(messages: Sequence[Mapping[str, Any]], tail: str, markers: tuple[str, ...]) -> int | None:
    """Index of the first message of which some text stands in the end of a prompt; None where there is none.

    Messages are looked for from the last to the first, as they stand behind one another, each with one of the
    template's `markers` behind it. One without text (calls alone) is passed over.
    """
    end, first = len(tail), None
    for at in range(len(messages) - 1, -1, -1):
        text = str(messages[at].get("content") or "").strip()
        if not text:
            continue
        start = tail.rfind(text, 0, end)
        if start < 0:
            return at if _ends_in(text, tail[:end], markers) else first
        end, first = start, at
    return first


def _ends_in(text: str, tail: str, markers: tuple[str, ...]) -> bool:
    """Whether `tail` begins within `text`: with one of its endings, and a marker behind that."""
    at = text.rfind(tail[:1]) if tail else -1
    while at >= 0:
        if tail.startswith(text[at:]) and tail[len(text) - at :].lstrip().startswith(markers):
            return True
        at = text.rfind(tail[:1], 0, at)
    return False
