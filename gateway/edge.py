"""What every request passes before a route sees it: its id, its key, one log line, errors as JSON. Pure ASGI."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from espalier.engine.errors import EngineError
from espalier.gateway.auth import OPEN_PATHS, KeyRing, key_from
from espalier.gateway.errors import ApiError, from_engine
from espalier.gateway.log import Log, request_id_var, tenant_var

_LOG = Log("http")
_UNSAFE = re.compile(r"[^\x21-\x7e]+")
MAX_REQUEST_ID = 128
MAX_HEADER_BYTES = 16 * 1024


class Disconnected(Exception):
    """The client went away; there is nobody to answer."""


class Edge:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, keys: KeyRing, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._keys, self._clock = app, keys, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        began, status = self._clock(), 0

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        id_token, tenant_token = request_id_var.set(request_id), tenant_var.set(None)
        try:
            await self._handle(scope, receive, tell)
        except ApiError as error:
            if not status:
                await _answer(error, tell)
        except Disconnected:
            status = status or 499
        except Exception as error:
            _LOG.error("request_failed", error=error)
            if not status:
                await _answer(
                    ApiError(500, "the server failed on this request", headers={"x-should-retry": "false"}), tell
                )
        finally:
            milliseconds = round((self._clock() - began) * 1000, 1)
            level = "debug" if scope["path"] in OPEN_PATHS | {"/metrics"} else "info"
            _LOG.write(
                level, "request", method=scope["method"], path=scope["path"][:256], status=status, ms=milliseconds
            )
            request_id_var.reset(id_token)
            tenant_var.reset(tenant_token)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            raise ApiError(431, f"the headers have more than {MAX_HEADER_BYTES} bytes")
        scope["tenant"] = ""
        # With an application in the scope Starlette's router raises what it can't route, instead of answering.
        scope["app"] = self
        if self._keys.keys and scope["path"] not in OPEN_PATHS:
            tenant = self._keys.tenant(key_from(headers))
            if tenant is None:
                raise ApiError(
                    401, "no valid API key was given; send Authorization: Bearer <key>", None, "invalid_api_key"
                )
            scope["tenant"] = tenant
            tenant_var.set(tenant)
        try:
            await self._app(scope, receive, send)
        except HTTPException as error:
            detail = {404: f"there is no {scope['path'][:256]!r} here", 405: f"{scope['method']} is not allowed here"}
            raise ApiError(error.status_code, detail.get(error.status_code, str(error.detail))) from None
        except EngineError as error:
            raise from_engine(error) from error


def _request_id(headers: Headers) -> str:
    """The client's own id, cut to safe characters and length, or a new one."""
    given = _UNSAFE.sub("", headers.get("x-request-id", ""))[:MAX_REQUEST_ID]
    return given or f"req_{uuid.uuid4().hex}"


async def _answer(error: ApiError, send: Send) -> None:
    body = msgspec.json.encode(error.body())
    headers = {"content-type": "application/json", "content-length": str(len(body))} | error.headers
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
