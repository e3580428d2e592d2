"""Errors of sessions as clients get them: each has its status, and says whether trying again helps."""

from __future__ import annotations

import pytest

from espalier.gateway.session_errors import STATUSES, from_session
from espalier.sessions import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.SessionError)]


def test_every_error_has_a_status() -> None:
    assert {kind.code for kind in KINDS} - {"session_error"} == set(STATUSES)


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (errors.BusyError("turn_1", retry_after_s=1.2), 409, {"retry-after": "2"}),
        (errors.IdempotencyConflictError(), 409, {"x-should-retry": "false"}),
        (errors.ToolResultConflictError("c", "turn_1"), 409, {"x-should-retry": "false"}),
        (errors.NotFoundError("session", "s"), 404, {}),
        (errors.TurnMismatchError("turn_1", None), 412, {}),
        (errors.ReadOnlyError("disk full"), 503, {}),
    ],
)
def test_only_a_busy_session_says_when_to_try_again(
    error: errors.SessionError, status: int, headers: dict[str, str]
) -> None:
    told = from_session(error)
    assert (told.status, told.code, told.headers) == (status, error.code, headers)
