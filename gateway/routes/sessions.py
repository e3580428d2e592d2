"""/v1/sessions: create, list, read, update, delete, fork, roll back, lease, export and import, and their turns.

A session is named by its id or by the name that its client gave it.
"""

from __future__ import annotations

from typing import Literal, TypeVar
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from espalier.gateway import session_lease
from espalier.gateway.connection import read_body
from espalier.gateway.errors import ApiError, invalid
from espalier.gateway.item_page import limit_of
from espalier.gateway.response import JsonResponse
from espalier.gateway.response_input import replayed
from espalier.gateway.service import Service
from espalier.gateway.session_upkeep import forget
from espalier.gateway.wire.body import convert, parse
from espalier.gateway.wire.sessions import (
    CreateSession,
    Deleted,
    ForkSession,
    Lease,
    LeaseSession,
    RollBackSession,
    SessionPage,
    UpdateSession,
    session_object,
    turn_object,
)
from espalier.sessions import Session, Sessions
from espalier.sessions.errors import NotFoundError
from espalier.sessions.session import ID_PREFIXES

T = TypeVar("T")
ONE = "/v1/sessions/{session}"


class SessionEndpoints:
    """The routes of sessions and their turns."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def create(self, request: Request) -> Response:
        """POST /v1/sessions."""
        asked = await self._read(request, CreateSession)
        _check_name(asked.name)
        session = await self._sessions.create(
            _tenant(request), name=asked.name, metadata=asked.metadata, ttl_s=asked.ttl_s
        )
        return JsonResponse(session_object(session))

    async def list(self, request: Request) -> Response:
        """GET /v1/sessions."""
        limit, order = limit_of(request.query_params), _order(request, "desc")
        after = request.query_params.get("after")
        page = await self._sessions.list(_tenant(request), limit=limit, after=after, order=order)
        data = [session_object(session) for session in page.items]
        return JsonResponse(SessionPage(data, _id(data, 0), _id(data, -1), page.has_more))

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/sessions/{session}."""
        return JsonResponse(session_object(await self._session(request)))

    async def update(self, request: Request) -> Response:
        """POST /v1/sessions/{session}."""
        asked, session = await self._read(request, UpdateSession), await self._session(request)
        changed = await self._sessions.update(session.tenant, session.id, metadata=asked.metadata, ttl_s=asked.ttl_s)
        return JsonResponse(session_object(changed))

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/sessions/{session}: its text is gone from disk, and its state from memory, with the answer."""
        session = await self._session(request)
        if session.running is not None and (live := self._service.live.get(session.tenant, session.running)):
            await live.cancel()
        forget(self._service.client, await self._sessions.delete(session.tenant, session.id))
        return JsonResponse(Deleted(session.id, "session.deleted"))

    async def fork(self, request: Request) -> Response:
        """POST /v1/sessions/{session}/fork."""
        asked, session = await self._read(request, ForkSession), await self._session(request)
        _check_name(asked.name)
        forked = await self._sessions.fork(session.tenant, session.id, at=asked.at, name=asked.name)
        if asked.at is None:
            session_lease.fork(self._service.client, session, forked)
        return JsonResponse(session_object(forked))

    async def roll_back(self, request: Request) -> Response:
        """POST /v1/sessions/{session}/rollback; a turn that its client has left is ended, as by the next turn."""
        asked, session = await self._read(request, RollBackSession, null=True), await self._session(request)
        await self._service.live.make_way(session.tenant, session.running)
        rolled = await self._sessions.rollback(session.tenant, session.id, to=asked.to)
        session_lease.release(self._service.client, rolled)
        return JsonResponse(session_object(rolled))

    async def lease(self, request: Request) -> Response:
        """POST /v1/sessions/{session}/lease."""
        asked, session = await self._read(request, LeaseSession), await self._session(request)
        session_lease.lease(self._service.client, session, asked.ttl_s, asked.priority)
        return JsonResponse(Lease(session.id, asked.ttl_s, asked.priority))

    async def release(self, request: Request) -> Response:
        """DELETE /v1/sessions/{session}/lease."""
        session = await self._session(request)
        session_lease.release(self._service.client, session)
        return JsonResponse(Deleted(session.id, "session.lease.deleted"))

    async def turns(self, request: Request) -> Response:
        """GET /v1/sessions/{session}/turns: all that it has opened, abandoned and interrupted ones too."""
        session = await self._session(request)
        limit, order = limit_of(request.query_params), _order(request, "asc")
        after = request.query_params.get("after")
        page = await self._sessions.turns(session.tenant, session.id, limit=limit, after=after, order=order)
        data = [turn_object(turn) for turn in page.items]
        return JsonResponse(SessionPage(data, _id(data, 0), _id(data, -1), page.has_more))

    async def turn(self, request: Request) -> Response:
        """GET /v1/sessions/{session}/turns/{turn}."""
        session, ref = await self._session(request), request.path_params["turn"]
        turn = await self._sessions.turn(session.tenant, ref)
        path = await self._sessions.path(session.tenant, session.id)
        if turn.session_id != session.id and all(one.id != turn.id for one in path.turns):
            raise NotFoundError("turn", ref)
        return JsonResponse(turn_object(turn))

    async def export(self, request: Request) -> Response:
        """GET /v1/sessions/{session}/export."""
        session = await self._session(request)
        data = await self._sessions.export(session.tenant, session.id)
        return Response(data, media_type="application/json")

    async def load(self, request: Request) -> Response:
        """POST /v1/sessions/import: the body is what export gave."""
        body = await read_body(request, self._service.options.max_body_bytes)
        return JsonResponse(session_object(await self._sessions.load(_tenant(request), body, check=replayed)))

    @property
    def _sessions(self) -> Sessions:
        if self._service.sessions is None:
            raise ApiError(404, "this server keeps no sessions", code="not_found")
        return self._service.sessions

    async def _session(self, request: Request) -> Session:
        session = await self._sessions.find(_tenant(request), request.path_params["session"])
        if session.kind != "session":
            raise NotFoundError("session", session.id)
        return session

    async def _read(self, request: Request, kind: type[T], *, null: bool = False) -> T:
        """The body; null counts as absent, except where it says something."""
        body = await read_body(request, self._service.options.max_body_bytes)
        given = parse(body) if body.strip() else {}
        return convert({name: value for name, value in given.items() if null or value is not None}, kind)


class _NamedRoute(Route):
    """A route whose path is split before it is decoded: a session's name may hold slashes, sent as %2F."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        match, child = super().matches({**scope, "path": raw.decode("latin-1")})
        if match is not Match.NONE:
            child["path_params"] = {name: unquote(value) for name, value in child["path_params"].items()}
        return match, child


def _tenant(request: Request) -> str:
    tenant: str = request.scope["tenant"]
    return tenant


def _check_name(name: str | None) -> None:
    if name is not None and name.startswith(ID_PREFIXES):
        raise invalid(f"name begins as ids do ({', '.join(ID_PREFIXES)}); choose another", "name")


def _order(request: Request, default: Literal["asc", "desc"]) -> Literal["asc", "desc"]:
    given = request.query_params.get("order", default)
    if given == "asc":
        return "asc"
    if given == "desc":
        return "desc"
    raise invalid(f"order is {given[:64]!r}; it must be 'asc' or 'desc'", "order")


def _id(data: list[T], at: int) -> str | None:
    return getattr(data[at], "id") if data else None  # noqa: B009


def routes(service: Service) -> list[Route]:
    """The routes of this file."""
    ends = SessionEndpoints(service)
    return [
        Route("/v1/sessions", ends.create, methods=["POST"]),
        Route("/v1/sessions", ends.list, methods=["GET"]),
        Route("/v1/sessions/import", ends.load, methods=["POST"]),
        _NamedRoute(ONE, ends.retrieve, methods=["GET"]),
        _NamedRoute(ONE, ends.update, methods=["POST"]),
        _NamedRoute(ONE, ends.delete, methods=["DELETE"]),
        _NamedRoute(f"{ONE}/fork", ends.fork, methods=["POST"]),
        _NamedRoute(f"{ONE}/rollback", ends.roll_back, methods=["POST"]),
        _NamedRoute(f"{ONE}/lease", ends.lease, methods=["POST"]),
        _NamedRoute(f"{ONE}/lease", ends.release, methods=["DELETE"]),
        _NamedRoute(f"{ONE}/export", ends.export, methods=["GET"]),
        _NamedRoute(f"{ONE}/turns", ends.turns, methods=["GET"]),
        _NamedRoute(f"{ONE}/turns/{{turn}}", ends.turn, methods=["GET"]),
    ]
