"""Errors as the Messages API tells them, and which requests are told so.

    {"type": "error", "error": {"type", "message"}, "request_id"}

There is no place for the field at fault; messages name it. For a few, clients know what to do instead if the error has
`details`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from espalier.gateway.errors import ApiError

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}

FIELDS = {"stop": "stop_sequences"}
"""Fields that have another name here."""

# A client of threads that reads this goes on without.
DETAILS: dict[str | None, dict[str, Any]] = {
    "thread": {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
}


def speaks_messages(path: str, headers: Mapping[str, str]) -> bool:
    """Whether a request is one of Anthropic's clients': by its path, or, of the models, by the version it names."""
    if path.startswith("/v1/models"):
        return "anthropic-version" in headers
    return path == "/v1/messages" or path.startswith("/v1/messages/")


def body(error: ApiError, request_id: str) -> dict[str, Any]:
    """An error's body."""
    kind = TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    message, param = error.message, FIELDS.get(error.param or "", error.param)
    if param is not None and param not in message:
        message = f"{param}: {message}"
    told: dict[str, Any] = {"type": kind, "message": message}
    if (details := DETAILS.get(error.param)) is not None:
        told["details"] = details
    return {"type": "error", "error": told, "request_id": request_id}
