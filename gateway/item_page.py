"""Pages of items: `limit`, `order` and `after` of a query, and what they choose. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from espalier.gateway.errors import invalid
from espalier.gateway.wire.items import Item
from espalier.gateway.wire.responses import ItemList

DEFAULT_LIMIT, MAX_LIMIT = 20, 100


def page_of(items: Sequence[Item], query: Mapping[str, str]) -> ItemList:
    """The page of `items`, oldest first, that a query asks for; the newest come first by default. Raises ApiError."""
    limit, order, after = limit_of(query), query.get("order", "desc"), query.get("after")
    if order not in ("asc", "desc"):
        raise invalid(f"order is {order[:64]!r}; it must be 'asc' or 'desc'", "order")
    ordered = list(items) if order == "asc" else list(reversed(items))
    start = 0
    if after is not None:
        start = next((at for at, item in enumerate(ordered, 1) if item.id == after), 0)
        if not start:
            raise invalid("after is no item of this list", "after")
    data = ordered[start : start + limit]
    has_more = start + limit < len(ordered)
    return ItemList(data, data[0].id if data else None, data[-1].id if data else None, has_more)


def whole_list(items: Sequence[Item]) -> ItemList:
    """All of `items` as one page."""
    return ItemList(list(items), items[0].id if items else None, items[-1].id if items else None, has_more=False)


def limit_of(query: Mapping[str, str]) -> int:
    """How many items a query wants. Raises ApiError."""
    given = query.get("limit", str(DEFAULT_LIMIT))
    if not (given.isascii() and given.isdigit() and len(given) < 10 and 1 <= int(given) <= MAX_LIMIT):
        raise invalid(f"limit is {given[:64]!r}; it must be a number from 1 to {MAX_LIMIT}", "limit")
    return int(given)
