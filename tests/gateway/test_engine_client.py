from __future__ import annotations

import pytest

from espalier.engine.errors import CheckpointError, ContextOverflowError, EngineDiedError, EngineError, RequestError
from espalier.gateway.engine_client import error_from, new_request_id


@pytest.mark.parametrize("kind", [CheckpointError, ContextOverflowError, EngineDiedError, EngineError, RequestError])
def test_a_code_on_the_wire_becomes_the_error_that_it_names(kind: type[EngineError]) -> None:
    error = error_from(kind.code, "because")
    assert type(error) is kind
    assert str(error) == "because"


def test_the_field_at_fault_is_kept() -> None:
    error = error_from("invalid_request", "must be under 2", "temperature")
    assert isinstance(error, RequestError)
    assert error.param == "temperature"


@pytest.mark.parametrize("code", [None, "", "a_code_of_tomorrow"])
def test_an_unknown_code_is_the_root_error(code: str | None) -> None:
    error = error_from(code, None)
    assert type(error) is EngineError
    assert str(error)


def test_request_ids_differ() -> None:
    assert len({new_request_id() for _ in range(1000)}) == 1000
