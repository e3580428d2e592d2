"""Every engine error has a status, and a body of four keys."""

from __future__ import annotations

import pytest

from espalier.engine import errors
from espalier.engine.errors import EngineError, RequestError
from espalier.gateway.engine_client import DrainingError, UnavailableError
from espalier.gateway.errors import STATUSES, ApiError, from_engine

KINDS: list[type[EngineError]] = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EngineError)
]
ALL: list[type[EngineError]] = [*KINDS, UnavailableError, DrainingError]


@pytest.mark.parametrize("kind", ALL)
def test_the_status_follows_from_whose_fault_it_is(kind: type[EngineError]) -> None:
    told = from_engine(kind("a message with /a/path"))
    if issubclass(kind, RequestError):
        assert told.status == 400 and told.message == "a message with /a/path"
    elif kind.retriable:
        assert told.status == 503 and int(told.headers["retry-after"]) >= 1
    else:
        assert told.status == 500 and "/a/path" not in told.message and told.headers["x-should-retry"] == "false"
    assert set(told.body()["error"]) == {"message", "type", "param", "code"}


def test_the_field_at_fault_is_told() -> None:
    assert from_engine(RequestError("bad", param="stop")).param == "stop"


def test_the_wait_is_rounded_up_to_seconds() -> None:
    assert from_engine(UnavailableError("wait", retry_after_s=2.1)).headers["retry-after"] == "3"


def test_the_table_names_only_errors_that_exist() -> None:
    assert set(STATUSES) <= {kind.code for kind in ALL}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (500, "server_error"), (429, "rate_limit_error")],
)
def test_every_status_has_a_type(status: int, kind: str) -> None:
    assert ApiError(status, "x").body()["error"]["type"] == kind
