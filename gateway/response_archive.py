"""Responses and conversations as they are stored: each response is a turn of a session, with its items as its record.

A response that continues another one branches where it has to; a conversation is a session of its own, and its items
are those of its turns. Knows no HTTP beyond the errors that it raises, and nothing of how an answer is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from espalier.gateway.engine_client import EngineClient
from espalier.gateway.errors import ApiError, invalid
from espalier.gateway.history import plain_messages
from espalier.gateway.response_input import messages_from, replayed
from espalier.gateway.session_lease import hold
from espalier.gateway.wire.items import CallItem, CallOutputItem, Item, text_of
from espalier.gateway.wire.requests import Message
from espalier.gateway.wire.responses import Response, ResponseError
from espalier.sessions import (
    Begun,
    Completion,
    Draft,
    Idempotency,
    Path,
    Record,
    Removed,
    Session,
    Sessions,
    Turn,
    new_id,
)
from espalier.sessions.errors import NotFoundError, ToolResultConflictError
from espalier.sessions.operation import Branch

T = TypeVar("T")
RESPONSE, CONVERSATION = "resp", "conv"
_ID = re.compile(r"(?:msg|fc|fco|rs)_([0-9a-f]{32})_\d{1,6}")


class Asked(msgspec.Struct, frozen=True):
    """What a response's turn keeps of its request: the items of its input, and the response before its answer."""

    items: list[Item]
    response: Response


class Added(msgspec.Struct, frozen=True):
    """What a turn keeps of items that were added to a conversation without an answer."""

    items: list[Item]


@dataclass(frozen=True, slots=True)
class History:
    """What a request continues: the path of a conversation, or to an earlier response; where `is_new`, nothing."""

    path: Path
    is_new: bool = False
    is_conversation: bool = False

    @classmethod
    def none(cls, tenant: str) -> History:
        """No history; the session is stored when its first turn is."""
        return cls(Path(Session("", tenant, "response", 0.0, 0.0)), is_new=True)

    def messages(self) -> list[Message]:
        """Its messages, as a request would bring them."""
        return [replayed(message) for message in self.path.messages()]

    def unrecorded(self, items: Sequence[Item]) -> list[Item]:
        """`items` without the tool outputs that are recorded already. Raises ToolResultConflictError for others."""
        return [item for item in items if not (isinstance(item, CallOutputItem) and self._has(item))]

    def _has(self, item: CallOutputItem) -> bool:
        for turn in self.path.turns:
            for message in turn.messages:
                if message["role"] == "tool" and message.get("tool_call_id") == item.call_id:
                    if message["content"] != text_of(item.output):
                        raise ToolResultConflictError(item.call_id, turn.id)
                    return True
        return False


def new_response_id() -> str:
    """An id that nobody guesses."""
    return new_id(RESPONSE)


class ItemIds:
    """Ids of the items of one response or conversation: whoever has one has the owner's, and needs no index."""

    def __init__(self, owner_id: str) -> None:
        self._secret = owner_id.partition("_")[2]
        self._count = 0

    def __call__(self, prefix: str) -> str:
        """The next id."""
        self._count += 1
        return f"{prefix}_{self._secret}_{self._count}"


def no_response() -> ApiError:
    """The same for an id that is unknown, deleted, or another tenant's."""
    return ApiError(404, "there is no response of this id", "response_id", "response_not_found")


def no_previous() -> ApiError:
    """The same for an id that is unknown, deleted, or another tenant's."""
    code = "previous_response_not_found"
    return invalid("there is no previous response of this id", "previous_response_id", code)


def no_conversation() -> ApiError:
    """The same for an id that is unknown, deleted, or another tenant's."""
    return ApiError(404, "there is no conversation of this id", "conversation", "conversation_not_found")


class ResponseArchive:
    """The responses in the store of sessions."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def history(self, tenant: str, *, previous_response_id: str | None, conversation: str | None) -> History:
        """What a request continues. Raises ApiError."""
        if conversation is not None:
            try:
                path = await self._sessions.path(tenant, conversation)
            except NotFoundError:
                raise no_conversation() from None
            if path.session.kind != "conversation":
                raise no_conversation()
            return History(path, is_conversation=True)
        if previous_response_id is None:
            return History.none(tenant)
        try:
            path = await self._sessions.path_to(tenant, _checked(previous_response_id))
        except NotFoundError:
            raise no_previous() from None
        if path.tip is None or path.tip.state != "complete":
            code = "previous_response_not_complete"
            raise invalid("the previous response is not complete", "previous_response_id", code)
        return History(path)

    async def begin(self, tenant: str, history: History, draft: Draft) -> Begun:
        """Open the turn of a response. Raises SessionError."""
        session = history.path.session
        if history.is_new:
            session = await self._sessions.create(tenant, kind="response")
        # What continues a response of a conversation is none of it: it is forked, too.
        branch: Branch = "rollback" if history.is_conversation else "fork"
        return await self._sessions.begin(tenant, session.id, draft, branch=branch)

    async def complete(
        self, tenant: str, turn_id: str, response: Response, events: tuple[bytes, ...], output_ids: tuple[int, ...]
    ) -> Turn:
        """Keep a response that is whole, or was cut. Raises SessionError."""
        said = plain_messages(messages_from(response.output))
        calls = any(isinstance(item, CallItem) for item in response.output)
        reason = "length" if response.status == "incomplete" else "tool_calls" if calls else "stop"
        completion = Completion(said[0], output_ids, reason, msgspec.json.encode(response), events)
        return await self._sessions.complete(tenant, turn_id, completion)

    def hold(self, client: EngineClient, turn: Turn) -> None:
        """Have the engine keep the state of a turn that ended in calls, while the tools run."""
        hold(client, self._sessions, turn)

    async def end_early(self, tenant: str, turn_id: str, response: Response | None, events: tuple[bytes, ...]) -> None:
        """Give a turn up; what is told of it afterwards is `response`, cancelled or failed. Raises SessionError."""
        encoded = b"" if response is None else msgspec.json.encode(response)
        await self._sessions.interrupt(tenant, turn_id, response=encoded, events=events)

    async def turn_id(self, tenant: str, response_id: str) -> str:
        """The turn of a response. Raises ApiError."""
        try:
            return (await self._sessions.turn(tenant, _checked(response_id))).id
        except NotFoundError:
            raise no_response() from None

    async def response(self, tenant: str, response_id: str) -> Response:
        """A stored response that does not run. Raises ApiError."""
        return response_of(await self._find(tenant, response_id))

    async def events(self, tenant: str, response_id: str) -> tuple[bytes, ...]:
        """The events of a response that has ended. Raises ApiError."""
        return (await self._find(tenant, response_id)).events

    async def input_items(self, tenant: str, response_id: str) -> list[Item]:
        """The items that a response was asked with. Raises ApiError."""
        return decoded((await self._find(tenant, response_id)).request, Asked).items

    async def delete(self, tenant: str, response_id: str) -> Removed:
        """Delete a response; its text goes as soon as no other one continues it. Raises ApiError, SessionError."""
        await self._find(tenant, response_id)
        return await self._sessions.delete_turn(tenant, response_id)

    async def item(self, tenant: str, item_id: str) -> Item | None:
        """An item of a stored response, by its own id."""
        if not (found := _ID.fullmatch(item_id)):
            return None
        try:
            record = await self._find(tenant, f"{RESPONSE}_{found[1]}")
        except ApiError:
            return None
        items = [*decoded(record.request, Asked).items, *response_of(record).output]
        return next((item for item in items if item.id == item_id), None)

    async def replay(self, tenant: str, idempotency: Idempotency) -> Turn | None:
        """The response that a key has opened. Raises SessionError."""
        return await self._sessions.replay(tenant, idempotency)

    async def _find(self, tenant: str, response_id: str) -> Record:
        try:
            return await self._sessions.record(tenant, _checked(response_id))
        except NotFoundError:
            raise no_response() from None


def response_of(record: Record) -> Response:
    """A response from its record. One that does not run any more, and left none, has failed: the server ended."""
    if record.response:
        return decoded(record.response, Response)
    begun = decoded(record.request, Asked).response
    error = ResponseError("server_error", "the server ended while this response was made")
    return replace(begun, status="failed", error=error)


def decoded(data: bytes, kind: type[T]) -> T:
    """A record's part."""
    return msgspec.json.decode(data, type=kind)


def _checked(response_id: str) -> str:
    """Turns are found by other ids, too; here they are not."""
    if not response_id.startswith(f"{RESPONSE}_"):
        raise NotFoundError("response", response_id)
    return response_id
