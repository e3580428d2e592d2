from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from espalier.gateway import log


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    log.configure("info", written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    logging.getLogger("uvicorn.access").disabled = False


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]


def test_a_record_is_one_json_line_with_time_level_event_and_fields(stream: io.StringIO) -> None:
    log.Log("replica").info("engine_ready", load_s=1.5, model="tiny")
    [record] = records(stream)
    assert record.pop("ts").endswith("+00:00")
    assert record == {"level": "info", "logger": "replica", "event": "engine_ready", "load_s": 1.5, "model": "tiny"}


def test_the_request_id_and_tenant_of_the_context_are_in_the_record(stream: io.StringIO) -> None:
    request, tenant = log.request_id_var.set("req-1"), log.tenant_var.set("acme")
    log.Log("app").info("answered", request_id="forged")
    log.request_id_var.reset(request)
    log.tenant_var.reset(tenant)
    log.Log("app").info("idle")
    first, second = records(stream)
    assert (first["request_id"], first["tenant"]) == ("req-1", "acme")
    assert "request_id" not in second


def test_records_under_the_level_are_not_written(stream: io.StringIO) -> None:
    log.Log("app").debug("detail")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("hostile", ['a\r\n{"event":"forged"}', "a\u2028b\u2029c\x85d\x0be", "\ud800", "\x00\x1b[31m"])
def test_no_value_can_end_the_line_or_break_the_json(stream: io.StringIO, hostile: str) -> None:
    log.Log("app").info("refused", name=hostile, nested={"deep": [hostile]})
    assert len(stream.getvalue().splitlines()) == 1
    [record] = records(stream)
    assert record["name"] == hostile
    assert record["nested"] == {"deep": [hostile]}


@pytest.mark.parametrize("name", sorted(log.NEVER_LOGGED))
def test_what_users_say_and_their_keys_are_never_logged(stream: io.StringIO, name: str) -> None:
    log.Log("app").info("refused", **{name: "secret-1"}, request={name: "secret-2"})
    assert "secret" not in stream.getvalue()


def test_an_exception_is_one_field(stream: io.StringIO) -> None:
    try:
        raise ValueError("line one\nline two")
    except ValueError as error:
        log.Log("app").error("failed", error=error)
    [record] = records(stream)
    assert record["exception"].startswith("Traceback")
    assert record["exception"].endswith("ValueError: line one\nline two")


def test_long_values_are_cut(stream: io.StringIO) -> None:
    log.Log("app").info("refused", name="x" * 10**6)
    assert len(stream.getvalue()) < 2 * log.MAX_VALUE_CHARS


def test_values_without_json_are_written_as_text(stream: io.StringIO) -> None:
    log.Log("app").info("odd", ratio=float("nan"), thing={1, 2}, kind=ValueError)
    [record] = records(stream)
    assert record["ratio"] == "nan"
    assert record["event"] == "odd"


def test_records_of_libraries_are_routed_here_and_access_lines_are_not(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").info("Started on %s", "127.0.0.1")
    logging.getLogger("uvicorn.access").info("GET /?api_key=secret")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, second = records(stream)
    assert (first["logger"], first["message"]) == ("uvicorn.error", "Started on 127.0.0.1")
    assert "old" in second["message"]
