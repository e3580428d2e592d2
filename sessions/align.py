"""Which part of what a client sends is new. A client may send new messages only, or all of its history each time.

A resent history is compared with ours turn by turn: roles, texts, calls with their arguments as JSON values, results.
Where it differs, or ends before ours does, the next turn follows the last turn that agrees: the session is rolled back
to there, and the rest of the client's history is new text. Results of tool calls at the end of a request are recorded
once: sent again they are a replay of the turn that they opened, and another result for the same call is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from espalier.sessions.call import calls_of, results_of, text_of
from espalier.sessions.errors import ToolResultConflictError
from espalier.sessions.path import Path
from espalier.sessions.turn import Turn
from espalier.sessions.value import JsonObject

Mode = Literal["auto", "append", "full"]
MODES: tuple[Mode, ...] = get_args(Mode)
_ROLES = {"developer": "system", "function": "tool"}


@dataclass(frozen=True, slots=True)
class Divergence:
    """The index of the client's message that differs from ours (its number of messages, if it just ends earlier).

    `turn_id` is our first turn that the client's history does not have.
    """

    message: int
    turn_id: str


@dataclass(frozen=True, slots=True)
class Alignment:
    """What follows what: `new` messages after the turn `parent`.

    `replayed` is the turn that exactly these tool results have opened before; there is nothing to do but tell it again.
    """

    parent: str | None
    new: tuple[JsonObject, ...]
    diverged: Divergence | None = None
    replayed: Turn | None = None


def align(path: Path, messages: Sequence[JsonObject], mode: Mode = "auto") -> Alignment:
    """Compare a client's messages with a session's history. Raises ToolResultConflictError.

    `auto` takes them for a whole history if an assistant's message is among them, or if they begin with the session's
    own system message; else for new messages.
    """
    if mode == "full" or (mode == "auto" and _is_history(path, messages)):
        return _aligned(path, messages)
    return _appended(path, messages)


def same(ours: JsonObject, theirs: JsonObject) -> bool:
    """Whether two messages say the same. What clients leave out or add (reasoning, names of users) does not count."""
    return _said(ours) == _said(theirs) and _same_calls(ours, theirs)


def _appended(path: Path, messages: Sequence[JsonObject]) -> Alignment:
    parent = path.session.head
    openers = {call_id: turn for turn in path.turns for call_id in results_of(turn.messages)}
    # A result of a call that stands among the messages is that one's, whatever its id.
    called = {call.call_id for message in messages for call in calls_of(message)}
    again, new = list[Turn](), list[JsonObject]()
    for message in messages:
        recorded = [one for one in results_of([message]).items() if one[0] in openers and one[0] not in called]
        again += [_checked(openers[call_id], call_id, text) for call_id, text in recorded]
        new += [] if recorded else [message]
    if again and not new:
        return Alignment(again[-1].parent, tuple(messages), replayed=again[-1])
    return Alignment(parent, tuple(new))


def _aligned(path: Path, messages: Sequence[JsonObject]) -> Alignment:
    at, parent = 0, None
    for turn in path.turns:
        ours = [*turn.messages, *([turn.answer] if turn.answer is not None else [])]
        num_same = _num_same(ours, messages[at:])
        if num_same < len(ours):
            replayed = _replayed(turn, messages[at:], num_same)
            diverged = None if replayed is not None else Divergence(at + num_same, turn.id)
            return Alignment(parent, tuple(messages[at:]), diverged, replayed)
        at, parent = at + len(ours), turn.id
    return Alignment(parent, tuple(messages[at:]))


def _replayed(turn: Turn, messages: Sequence[JsonObject], num_same: int) -> Turn | None:
    """The turn, if what is left of the client's history is what opened it, and ends with results of calls."""
    results = _trailing_results(messages)
    if not results or num_same < len(messages) - len(results):
        return None
    known = results_of(turn.messages)
    for call_id, text in results.items():
        if call_id in known:
            _checked(turn, call_id, text)
    return turn if num_same == len(messages) == len(turn.messages) else None


def _checked(turn: Turn, call_id: str, text: str) -> Turn:
    if results_of(turn.messages)[call_id] != text:
        raise ToolResultConflictError(call_id, turn.id)
    return turn


def _trailing_results(messages: Sequence[JsonObject]) -> dict[str, str]:
    """Results of calls at the end of a request, by call id."""
    at = len(messages)
    while at and _ROLES.get(str(messages[at - 1].get("role")), messages[at - 1].get("role")) == "tool":
        at -= 1
    return results_of(messages[at:])


def _is_history(path: Path, messages: Sequence[JsonObject]) -> bool:
    if not path.turns or not messages:
        return False
    first = next(iter(path.messages()), None)
    begins = first is not None and first.get("role") == "system" and same(first, messages[0])
    return begins or any(message.get("role") == "assistant" for message in messages)


def _num_same(ours: Sequence[JsonObject], theirs: Sequence[JsonObject]) -> int:
    for at, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if not same(one, other):
            return at
    return min(len(ours), len(theirs))


def _said(message: JsonObject) -> tuple[object, str, object]:
    role = _ROLES.get(str(message.get("role")), message.get("role"))
    text = text_of(message)
    # Clients trim what the assistant said, and some what stands around its calls.
    return role, text.strip() if role == "assistant" else text, message.get("tool_call_id") or None


def _same_calls(ours: JsonObject, theirs: JsonObject) -> bool:
    one, other = calls_of(ours), calls_of(theirs)
    return len(one) == len(other) and all(
        a.name == b.name and a.arguments == b.arguments and (a.call_id == b.call_id or not a.call_id or not b.call_id)
        for a, b in zip(one, other, strict=True)
    )
