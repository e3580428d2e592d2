"""How the errors of sessions are told to clients: one table from code to status."""

from __future__ import annotations

import math

from espalier.gateway.errors import ApiError
from espalier.sessions.errors import BusyError, SessionError

STATUSES = {
    "not_found": 404,
    "session_busy": 409,
    "turn_mismatch": 412,
    "idempotency_conflict": 409,
    "tool_result_conflict": 409,
    "name_taken": 409,
    "turn_ended": 409,
    "invalid_archive": 400,
    "session_corrupt": 500,
    "store_read_only": 503,
    "store_error": 500,
}
PARAMS = {"idempotency_conflict": "Idempotency-Key", "turn_mismatch": "If-Match", "name_taken": "name"}
# A request that is sent again as it is would fare no better.
DETERMINISTIC = frozenset(
    {"idempotency_conflict", "tool_result_conflict", "name_taken", "turn_ended", "session_corrupt", "store_error"}
)


def from_session(error: SessionError) -> ApiError:
    """How an error of sessions is told. Only a busy session says when to try again."""
    headers: dict[str, str] = {}
    if isinstance(error, BusyError):
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
    elif error.code in DETERMINISTIC:
        headers["x-should-retry"] = "false"
    status = STATUSES.get(error.code, 500)
    message = str(error) if error.code in STATUSES else "the sessions failed on this request"
    return ApiError(status, message, PARAMS.get(error.code), error.code, headers)
