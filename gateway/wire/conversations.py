"""Requests and answers of the Conversations API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from espalier.gateway.wire.responses import Metadata

MAX_ITEMS = 20
"""Most items that one request adds."""

Items = Annotated[list[Any], Meta(max_length=MAX_ITEMS)]


class CreateConversation(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/conversations."""

    items: Items = field(default_factory=list)
    metadata: Metadata = field(default_factory=dict)


class UpdateConversation(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/conversations/{id}."""

    metadata: Metadata | None
    """None takes all of it away, as an empty one does."""


class CreateItems(Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/conversations/{id}/items."""

    items: Annotated[list[Any], Meta(min_length=1, max_length=MAX_ITEMS)]


class Conversation(Struct, frozen=True):
    """A conversation; times are seconds since 1970."""

    id: str
    created_at: int
    metadata: dict[str, Any]
    object: Literal["conversation"] = "conversation"


class DeletedConversation(Struct, frozen=True):
    """Answer of DELETE /v1/conversations/{id}."""

    id: str
    deleted: bool = True
    object: Literal["conversation.deleted"] = "conversation.deleted"
