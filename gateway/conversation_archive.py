"""Conversations as they are stored: sessions of their own, whose items are those of their turns, oldest first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import msgspec
from msgspec.structs import replace

from espalier.gateway.engine_client import EngineClient
from espalier.gateway.errors import ApiError
from espalier.gateway.history import plain_messages
from espalier.gateway.live_turn import LiveTurns
from espalier.gateway.response_archive import Added, Asked, History, ItemIds, decoded, no_conversation
from espalier.gateway.response_input import calls_of, check_outputs, items_of, messages_from
from espalier.gateway.session_upkeep import forget
from espalier.gateway.wire.conversations import Conversation
from espalier.gateway.wire.items import Item, ItemReference, read_items
from espalier.gateway.wire.responses import Response
from espalier.sessions import JsonObject, Path, Record, Session, Sessions, Turn, new_id
from espalier.sessions.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class _Part:
    """One turn of a conversation: what was given, and what was answered."""

    turn: Turn
    record: Record
    given: list[Item]
    response: Response | None

    @property
    def items(self) -> list[Item]:
        return [*self.given, *(self.response.output if self.response is not None else [])]


def no_item() -> ApiError:
    """The same for every item that is not of this conversation."""
    return ApiError(404, "there is no item of this id in the conversation", "item_id", "item_not_found")


class ConversationArchive:
    """The conversations in the store of sessions. Every method raises ApiError for one that is not the tenant's."""

    def __init__(self, sessions: Sessions, live: LiveTurns, client: EngineClient) -> None:
        self._sessions, self._live, self._client = sessions, live, client
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def create(self, tenant: str, given: list[Any], metadata: dict[str, str]) -> Conversation:
        """Make a conversation, with its first items."""
        items = _read(given, "items")
        check_outputs([], items, "items")
        session = await self._sessions.create(tenant, kind="conversation", metadata=_json(metadata))
        if items:
            await self._append(tenant, session.id, items)
        return _told(session)

    async def get(self, tenant: str, conversation_id: str) -> Conversation:
        """A conversation."""
        return _told(await self._session(tenant, conversation_id))

    async def update(self, tenant: str, conversation_id: str, metadata: dict[str, str]) -> Conversation:
        """Replace its metadata."""
        await self._session(tenant, conversation_id)
        return _told(await self._sessions.update(tenant, conversation_id, metadata=_json(metadata)))

    async def delete(self, tenant: str, conversation_id: str) -> None:
        """Delete it with all its responses; one that runs is cancelled first."""
        session = await self._session(tenant, conversation_id)
        if session.running is not None and (turn := self._live.get(tenant, session.running)) is not None:
            await turn.cancel()
        forget(self._client, await self._sessions.delete(tenant, conversation_id))

    async def items(self, tenant: str, conversation_id: str) -> list[Item]:
        """Its items, oldest first."""
        path = await self._path(tenant, conversation_id)
        return [item async for part in self._parts(path) for item in part.items]

    async def add(self, tenant: str, conversation_id: str, given: list[Any]) -> list[Item]:
        """Add items at its end. Raises SessionError while a response is made."""
        items = _read(given, "items")
        async with self._alone(tenant, conversation_id):
            history = History(await self._settled(tenant, conversation_id))
            check_outputs(calls_of(history.messages()), items, "items")
            if new := history.unrecorded(items):
                await self._append(tenant, conversation_id, new)
        return items

    async def item(self, tenant: str, conversation_id: str, item_id: str) -> Item:
        """One of its items."""
        for item in await self.items(tenant, conversation_id):
            if item.id == item_id:
                return item
        raise no_item()

    async def delete_item(self, tenant: str, conversation_id: str, item_id: str) -> Conversation:
        """Take an item out of its turn; what is left is rendered anew by the next response."""
        async with self._alone(tenant, conversation_id):
            path = await self._settled(tenant, conversation_id)
            async for part in self._parts(path):
                if any(item.id == item_id for item in part.items):
                    await self._edit(tenant, part, item_id)
                    return _told(path.session)
        raise no_item()

    def _alone(self, tenant: str, conversation_id: str) -> asyncio.Lock:
        """Held from reading to writing: of two changes at once, the second would undo the first."""
        return self._locks.setdefault((tenant, conversation_id), asyncio.Lock())

    async def _edit(self, tenant: str, part: _Part, item_id: str) -> None:
        given = _without(part.given, item_id)
        response = part.response
        request: Asked | Added = Added(given)
        answer: JsonObject | None = None
        if response is not None:
            request = Asked(given, decoded(part.record.request, Asked).response)
            response = replace(response, output=_without(response.output, item_id))
            said = _plain(response.output)
            answer = said[0] if said else None
        encoded = b"" if response is None else msgspec.json.encode(response)
        # The events told of the item, too.
        record = Record(msgspec.json.encode(request), encoded, ())
        messages = _plain(given)
        forget(
            self._client,
            await self._sessions.edit(tenant, part.turn.id, messages=messages, answer=answer, record=record),
        )

    async def _append(self, tenant: str, conversation_id: str, items: list[Item]) -> None:
        await self._sessions.append(tenant, conversation_id, _plain(items), request=msgspec.json.encode(Added(items)))

    async def _parts(self, path: Path) -> AsyncIterator[_Part]:
        for turn, record in zip(path.turns, await self._sessions.records(path), strict=True):
            response = decoded(record.response, Response) if record.response else None
            yield _Part(turn, record, _given(turn, record), response)

    async def _path(self, tenant: str, conversation_id: str) -> Path:
        await self._session(tenant, conversation_id)
        return await self._sessions.path(tenant, conversation_id)

    async def _settled(self, tenant: str, conversation_id: str) -> Path:
        """The path; a response that its client has left is ended before, as by the next response."""
        session = await self._session(tenant, conversation_id)
        await self._live.make_way(tenant, session.running)
        return await self._sessions.path(tenant, conversation_id)

    async def _session(self, tenant: str, conversation_id: str) -> Session:
        try:
            session = await self._sessions.get(tenant, conversation_id)
        except NotFoundError:
            raise no_conversation() from None
        if session.kind != "conversation":
            raise no_conversation()
        return session


def _given(turn: Turn, record: Record) -> list[Item]:
    """The items of a turn's input; of a deleted response, which others continue, all that it still says."""
    if record.request:
        return decoded(record.request, Added).items
    ids = ItemIds(turn.id)
    said = [] if turn.answer is None else [turn.answer]
    return [item for message in (*turn.messages, *said) for item in items_of(message, ids)]


def _read(given: list[Any], field: str) -> list[Item]:
    items: list[Item] = []
    for at, item in enumerate(read_items(given, ItemIds(new_id("items")), field)):
        if isinstance(item, ItemReference):
            raise ApiError(400, f"{field}[{at}] refers to another item; send the item itself", f"{field}[{at}]")
        items.append(item)
    return items


def _without(items: Sequence[Item], item_id: str) -> list[Item]:
    return [item for item in items if item.id != item_id]


def _plain(items: Sequence[Item]) -> tuple[JsonObject, ...]:
    return tuple(plain_messages(messages_from(items))) if items else ()


def _json(metadata: dict[str, str]) -> JsonObject:
    return dict(metadata)


def _told(session: Session) -> Conversation:
    return Conversation(session.id, int(session.created_at), session.metadata)
