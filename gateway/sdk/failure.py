"""From a server's refusal to the error that is raised."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from espalier.gateway.sdk.errors import RefusedError, ServerError, SessionBusyError, UnavailableError
from espalier.gateway.sdk.retry import is_retried


class ErrorBody(Struct, frozen=True):
    """The object behind `error`; other servers leave some of it out."""

    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _Body(Struct, frozen=True):
    error: ErrorBody | str | None = None
    detail: object = None


def failure_of(status: int, headers: Mapping[str, str], body: bytes) -> ServerError:
    """The error that an answer with a status other than 2xx stands for."""
    error = read_error(body) or ErrorBody(body[:500].decode(errors="replace") or f"the server said {status}")
    kind: type[ServerError] = RefusedError
    if error.code == "session_busy":
        kind = SessionBusyError
    elif is_retried(status, headers, code_of(error)):
        kind = UnavailableError
    return kind(
        error.message, status=status, code=code_of(error), param=error.param, request_id=headers.get("x-request-id")
    )


def read_error(body: bytes | str) -> ErrorBody | None:
    """The error in a body or an event; None where there is none."""
    try:
        found = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if found.error is None and found.detail is not None:
        return ErrorBody(str(found.detail))
    return ErrorBody(found.error) if isinstance(found.error, str) else found.error


def code_of(error: ErrorBody) -> str | None:
    """The code as a text, the type where there is no code."""
    return error.type if error.code is None else str(error.code)
