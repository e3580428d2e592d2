"""When a request is made again, and what is raised where it is not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from espalier.gateway.sdk import RefusedError, Retry, ServerError, SessionBusyError, UnavailableError
from espalier.gateway.sdk.failure import failure_of, read_error
from espalier.gateway.sdk.retry import is_retried, retry_after_s


def test_waits_double_up_to_the_most_and_then_end() -> None:
    retry = Retry(attempts=6, first_s=1, most_s=4)
    assert [retry.delay_s(attempt, None, 1.0) for attempt in range(1, 7)] == [1, 2, 4, 4, 4, None]
    assert retry.delay_s(1, None, 0.0) == 0.5


def test_what_the_server_says_goes_before_our_guess_within_our_patience() -> None:
    retry = Retry(patience_s=30)
    assert retry.delay_s(1, 7.0, 0.5) == 7.0
    assert retry.delay_s(1, 31.0, 0.5) is None
    assert retry.delay_s(retry.attempts, 7.0, 0.5) is None


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again_unless_the_server_says_no(status: int) -> None:
    assert is_retried(status, {}, None)
    assert not is_retried(status, {"x-should-retry": "false"}, None)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 412, 413, 422])
def test_a_refusal_is_not_asked_again_unless_the_server_says_yes(status: int) -> None:
    assert not is_retried(status, {}, None)
    assert is_retried(status, {"x-should-retry": "true"}, None)


def test_a_busy_session_is_asked_again_and_a_key_of_another_body_is_not() -> None:
    assert is_retried(409, {}, "session_busy")
    assert not is_retried(409, {"x-should-retry": "false"}, "idempotency_conflict")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Wed, 21 Oct 2026 07:28:10 GMT", 10.0),
        ("Wed, 21 Oct 2020 07:28:10 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}, datetime(2026, 10, 21, 7, 28, tzinfo=UTC)) == seconds
    assert retry_after_s({}) is None


BODY = b'{"error":{"message":"no","type":"t","param":"tools[0]","code":"c"}}'


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, BODY, RefusedError),
        (503, BODY, UnavailableError),
        (409, BODY.replace(b'"c"', b'"session_busy"'), SessionBusyError),
        (409, BODY, RefusedError),
    ],
)
def test_an_errors_body_becomes_the_error_that_fits(status: int, body: bytes, kind: type[ServerError]) -> None:
    error = failure_of(status, {"x-request-id": "r"}, body)
    assert type(error) is kind
    assert (error.status, error.param, error.request_id) == (status, "tools[0]", "r")
    assert str(error) == f"no (status {status}, param tools[0], request r)"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "<html>"),
        (b"", "the server said 400"),
        (b'{"error":"plain"}', "plain"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"error":{"code":404}}', ""),
        (b"\xff", "�"),
        (b"[1]", "[1]"),
    ],
)
def test_other_bodies_say_what_they_can(body: bytes, message: str) -> None:
    assert failure_of(400, {}, body).args[0] == message


def test_what_is_no_error_is_none() -> None:
    assert read_error('{"choices":[]}') is None
