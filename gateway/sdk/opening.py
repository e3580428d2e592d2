"""How a run of a session begins: anew, or where a run before it ended without an end."""

from __future__ import annotations

import uuid
from typing import TypeVar

from espalier.gateway.sdk.answer import AnswerShape
from espalier.gateway.sdk.errors import JournalError
from espalier.gateway.sdk.journal import Began, CallBegan, Ended, Journal, TurnDone
from espalier.gateway.sdk.message import Message
from espalier.gateway.sdk.model import Model
from espalier.gateway.sdk.progress import Progress
from espalier.gateway.sdk.reply import Reply
from espalier.gateway.sdk.run import Run
from espalier.gateway.sdk.toolbox import Toolbox

A = TypeVar("A")


def new_run_id() -> str:
    """An id that no other run has."""
    return f"run-{uuid.uuid4().hex}"


async def open_run(
    model: Model,
    session_id: str,
    journal: Journal,
    instructions: tuple[Message, ...],
    prompt: tuple[Message, ...],
    key: str | None,
) -> None:
    """Begin a run of `prompt`, or go on with the one of that key, without a key with one that was asked the same.

    Raises JournalError, ServerError.
    """
    if journal.records:
        began = journal.records[0]
        if isinstance(began, Began) and _is_same(began, instructions, prompt, key):
            return
        raise JournalError(
            f"a run of the session {session_id!r} is not finished: resume it, roll the session back, or abandon the run"
        )
    tip = await model.turns(session_id, last=1)
    if tip and tip[-1].is_pending:
        raise JournalError(f"the session {session_id!r} waits for the results of calls: resume it, or roll it back")
    head = tip[-1].id if tip else None
    journal.write(Began(new_run_id(), prompt if tip else (*instructions, *prompt), head, key))


def _is_same(began: Began, instructions: tuple[Message, ...], prompt: tuple[Message, ...], key: str | None) -> bool:
    return began.key == key if key else began.prompt in (prompt, (*instructions, *prompt))


def finished_run(journal: Journal, key: str | None, shape: AnswerShape[A]) -> Run[A] | None:
    """The run of a key, where it is over and the latest one. Raises ShapeError if its answer is of another type."""
    records = journal.finished
    if not key or not records or not isinstance(records[0], Began) or records[0].key != key:
        return None
    if records[-1] != Ended("Answered"):
        return None
    progress = Progress(records)
    answer = shape.decode(progress.messages[-1].content or "")
    return Run(answer, progress.run_id, tuple(progress.messages), progress.turns, progress.usage, 0.0)


async def reopen_run(model: Model, session_id: str, journal: Journal, toolbox: Toolbox) -> None:
    """Go on with the run in the journal, or with the calls that the session waits for. Raises JournalError,
    ServerError.

    Without a journal nobody knows which of the calls were being made; those that must not be done twice count as made.
    """
    if journal.records:
        return
    tip = await model.turns(session_id, last=1)
    answer = tip[-1].answer if tip else None
    if answer is None or not tip[-1].is_pending:
        raise JournalError(f"the session {session_id!r} has nothing to resume: its last run ended")
    if tip[-1].finish_reason == "length":
        raise JournalError(f"the last turn of the session {session_id!r} was cut among its calls: roll it back")
    journal.write(Began(new_run_id(), ()))
    journal.write(TurnDone(Reply(answer.content or "", answer.tool_calls, "tool_calls", turn_id=tip[-1].id)))
    for call in Progress(journal.records).calls():
        spec = toolbox.spec(call.name)
        if spec is None or spec.effect == "once":
            journal.write(CallBegan(call.key))
