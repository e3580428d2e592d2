"""What every request passes before a route sees it: its id, its key, one log line, errors as JSON. Pure ASGI."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from espalier.engine.errors import EngineError
from espalier.gateway import message_error
from espalier.gateway.auth import OPEN_PATHS, KeyRing, key_from
from espalier.gateway.errors import ApiError, from_engine
from espalier.gateway.log import Level, Log, request_id_var, tenant_var
from espalier.gateway.session_errors import from_session
from espalier.sessions.errors import SessionError

_LOG = Log("http")
_UNSAFE = re.compile(r"[^\x21-\x7e]+")
# Asked every few seconds by probes and scrapers: nobody wants a line for each.
_QUIET = OPEN_PATHS | {"/metrics"}
MAX_REQUEST_ID = 128
MAX_HEADERS = 100
MAX_HEADER_BYTES = 8 * 1024
MAX_PATH = 256


class DisconnectedError(Exception):
    """The client went away; there is nobody to answer."""


class _Reply:
    """Sends for one request: adds its id, and knows whether an answer has begun (`status` is not 0)."""

    def __init__(self, send: Send, request_id: str, *, speaks_messages: bool) -> None:
        self._send, self._request_id, self._speaks_messages = send, request_id, speaks_messages
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request_id
            if self._speaks_messages:
                headers["request-id"] = self._request_id
        await self._send(message)

    async def fail(self, error: ApiError) -> None:
        """Answer with an error, unless an answer has begun."""
        if self.status:
            return
        told = message_error.body(error, self._request_id) if self._speaks_messages else error.body()
        body = msgspec.json.encode(told)
        headers = {"content-type": "application/json", "content-length": str(len(body))} | error.headers
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self({"type": "http.response.start", "status": error.status, "headers": raw})
        await self({"type": "http.response.body", "body": body})


class Edge:
    """The outermost layer of the application. A tenant's name, "" without keys, is put into the scope."""

    def __init__(self, app: ASGIApp, keys: KeyRing, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._keys, self._clock = app, keys, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        speaks_messages = message_error.speaks_messages(scope["path"], headers)
        reply, began = _Reply(send, request_id, speaks_messages=speaks_messages), self._clock()
        id_token, tenant_token = request_id_var.set(request_id), tenant_var.set(None)
        try:
            await self._guarded(scope, receive, reply, headers)
        finally:
            _log_request(scope, reply.status, self._clock() - began)
            request_id_var.reset(id_token)
            tenant_var.reset(tenant_token)

    async def _guarded(self, scope: Scope, receive: Receive, reply: _Reply, headers: Headers) -> None:
        try:
            _check_headers(scope)
            scope["tenant"] = self._tenant(scope["path"], headers)
            # With an application in the scope Starlette's router raises what it can't route, instead of answering.
            scope["app"] = self
            await self._app(scope, receive, reply)
        except ApiError as error:
            await reply.fail(error)
        except HTTPException as error:
            await reply.fail(_unrouted(error, scope))
        except EngineError as error:
            told = from_engine(error)
            if told.status >= 500:
                _LOG.warning("engine_refused", code=error.code, reason=str(error))
            await reply.fail(told)
        except SessionError as error:
            await reply.fail(from_session(error))
        except DisconnectedError:
            reply.status = reply.status or 499
        except Exception as error:
            _LOG.error("request_failed", error=error)
            await reply.fail(ApiError(500, "the server failed on this request", headers={"x-should-retry": "false"}))

    def _tenant(self, path: str, headers: Headers) -> str:
        if not self._keys.keys or path in OPEN_PATHS:
            return ""
        tenant = self._keys.tenant(key_from(headers))
        if tenant is None:
            message = "no valid API key was given; send 'Authorization: Bearer <key>' or 'x-api-key: <key>'"
            raise ApiError(401, message, None, "invalid_api_key", {"www-authenticate": "Bearer"})
        tenant_var.set(tenant)
        return tenant


def _check_headers(scope: Scope) -> None:
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS:
        raise ApiError(431, f"the request has {len(headers)} headers; at most {MAX_HEADERS} are read")
    for name, value in headers:
        # The one header whose value is cut instead: a label, however long, harms nobody.
        if len(name) + len(value) > MAX_HEADER_BYTES and name != b"x-request-id":
            raise ApiError(431, f"a header has more than {MAX_HEADER_BYTES} bytes")


def _request_id(headers: Headers) -> str:
    """The client's own id, cut to safe characters and length, or a new one; a label, nothing is looked up by it."""
    given = _UNSAFE.sub("", headers.get("x-request-id", "")[: 8 * MAX_REQUEST_ID])[:MAX_REQUEST_ID]
    return given or f"req_{uuid.uuid4().hex}"


def _unrouted(error: HTTPException, scope: Scope) -> ApiError:
    texts = {404: f"there is no {scope['path'][:MAX_PATH]!r} here", 405: f"{scope['method']} is not allowed here"}
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if "allow" in headers:
        headers["allow"] = _allowed(scope)
    return ApiError(error.status_code, texts.get(error.status_code, str(error.detail)), headers=headers)


def _allowed(scope: Scope) -> str:
    """The methods of all routes of a path; the error that a router raises knows those of one."""
    routes: list[BaseRoute] = scope["router"].routes
    matching = [route for route in routes if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in matching for method in route.methods or ()}))


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    level: Level = "debug" if scope["path"] in _QUIET else "info"
    path = scope["path"][:MAX_PATH]
    _LOG.write(level, "request", method=scope["method"], path=path, status=status, ms=round(seconds * 1000, 1))
