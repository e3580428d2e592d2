"""What is found out of a request for a response before anything is begun: history, items, tools, prompt, constraint."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from espalier.engine.errors import RequestError
from espalier.gateway import response_request
from espalier.gateway.errors import ApiError, invalid
from espalier.gateway.history import plain_messages
from espalier.gateway.prompt_cache import PromptCache
from espalier.gateway.response_archive import (
    Asked,
    History,
    ItemIds,
    ResponseArchive,
    new_response_id,
    no_conversation,
    no_previous,
)
from espalier.gateway.response_input import calls_of, check_outputs, messages_from
from espalier.gateway.response_request import chat_of, conversation_of, tools_of, turn_of
from espalier.gateway.sampling import sampling_params
from espalier.gateway.service import Prepared, Service
from espalier.gateway.wire.items import GivenItem, Item, ItemReference, read_items
from espalier.gateway.wire.responses import FunctionTool, Response, ResponsesRequest
from espalier.sessions import Draft, Idempotency


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that was read and found good."""

    response_id: str
    ids: ItemIds
    history: History
    items: list[Item]
    tools: list[FunctionTool]
    prepared: Prepared


class ResponsePlanner:
    """Plans responses; `archive` is None where nothing is stored."""

    def __init__(self, service: Service, archive: ResponseArchive | None) -> None:
        self._service, self._archive = service, archive

    async def plan(self, asked: ResponsesRequest, tenant: str) -> Plan:
        """Read a request and make its prompt. Raises ApiError, EngineError; nothing has begun then."""
        history = await self._history(asked, tenant)
        response_id = new_response_id()
        ids = ItemIds(response_id)
        items = [await self._resolved(tenant, item, at) for at, item in enumerate(read_items(asked.input, ids))]
        said = history.messages()
        check_outputs(calls_of(said), items)
        items = history.unrecorded(items)
        tools = tools_of(asked)
        turn = turn_of(asked, tools, said, items)
        params = sampling_params(chat_of(asked), self._service.defaults, self._service.options)
        try:
            prepared = await self._service.prepare(
                turn,
                params,
                tenant=tenant,
                cache_salt=asked.cache_salt,
                prompt_cache=PromptCache(asked.prompt_cache_key or "", asked.prompt_cache_retention),
                history=history.path,
            )
        except ApiError as error:
            raise response_request.in_own_words(error) from None
        except RequestError as error:
            raise response_request.in_own_words(error) from None
        return Plan(response_id, ids, history, items, tools, prepared)

    async def _history(self, asked: ResponsesRequest, tenant: str) -> History:
        conversation, previous = conversation_of(asked), asked.previous_response_id
        if conversation is None and previous is None:
            return History.none(tenant)
        if self._archive is None:
            raise no_previous() if previous is not None else no_conversation()
        return await self._archive.history(tenant, previous_response_id=previous, conversation=conversation)

    async def _resolved(self, tenant: str, item: GivenItem, at: int) -> Item:
        if not isinstance(item, ItemReference):
            return item
        found = None if self._archive is None else await self._archive.item(tenant, item.id)
        if found is None:
            raise invalid(f"input[{at}] refers to an item that there is not", f"input[{at}].id", "item_not_found")
        return found


def draft_of(plan: Plan, response: Response, idempotency: Idempotency | None, cache_salt: str) -> Draft:
    """The turn that a planned response begins."""
    path, spliced = plan.history.path, plan.prepared.prompt.splice
    assert spliced is not None
    return Draft(
        parent=None if path.tip is None else path.tip.id,
        seen_head=path.session.head,
        messages=tuple(plain_messages(messages_from(plan.items))) if plan.items else (),
        kept_len=spliced.kept_len,
        prompt_ids=spliced.new_ids,
        mark=spliced.mark,
        response_id=response.id,
        request=msgspec.json.encode(Asked(plan.items, response)),
        idempotency=idempotency,
        cache_salt=cache_salt,
        is_background=response.background,
    )
