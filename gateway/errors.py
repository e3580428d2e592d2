"""What goes wrong in the API, and how each engine error is told: one table from code to status.

    ApiError    an answer with a status, and the body {"error": {"message", "type", "param", "code"}}

No body holds a traceback, a path or an address: messages are written for the client, the rest goes to the log.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from espalier.engine.errors import EngineError, RequestError
from espalier.gateway.engine_client import UnavailableError

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}
# Engine errors by code; those not named here are the server's fault.
STATUSES = {
    "invalid_request": 400,
    "context_length_exceeded": 400,
    "chat_template_error": 400,
    "engine_died": 503,
    "engine_unavailable": 503,
    "draining": 503,
    "overloaded": 503,
}


@dataclass(eq=False)
class ApiError(Exception):
    """An error as the client gets it."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """All four keys, always."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400 that names the field at fault."""
    return ApiError(400, message, param, code)


def from_engine(error: EngineError) -> ApiError:
    """How an engine's error is told to the client."""
    status = STATUSES.get(error.code, 500)
    message = str(error) if error.code in STATUSES else "the engine failed on this request"
    param = error.param if isinstance(error, RequestError) else None
    headers: dict[str, str] = {}
    if error.retriable:
        wait_s = error.retry_after_s if isinstance(error, UnavailableError) else 1.0
        headers["retry-after"] = str(math.ceil(wait_s))
    elif status >= 500:
        headers["x-should-retry"] = "false"
    code = None if error.code == "invalid_request" else error.code
    return ApiError(status, message, param, code, headers)
