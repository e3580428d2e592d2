"""What a request says of being sent again: the key that stands for it, and the event after which its stream goes on."""

from __future__ import annotations

from starlette.requests import Request

from espalier.gateway.errors import invalid
from espalier.sessions import Idempotency
from espalier.sessions.value import digest

MAX_KEY_LEN = 255


def idempotency_of(request: Request, body: bytes, session: str = "") -> Idempotency | None:
    """The key that a client gave to this request, with a digest of what it asks. Raises ApiError.

    `session` is the one that it names beside its body.
    """
    key = request.headers.get("idempotency-key")
    if not key:
        return None
    if len(key) > MAX_KEY_LEN:
        raise invalid(
            f"Idempotency-Key has {len(key)} characters; at most {MAX_KEY_LEN} are allowed", "Idempotency-Key"
        )
    named = session.encode() + b"\n" if session else b""
    return Idempotency(key, digest(request.url.path.encode() + b"\n" + named + body))


def first_event_of(request: Request) -> int:
    """Number of the first event that is wanted: after `starting_after`, else after Last-Event-ID, else 0."""
    for field, given in (
        ("starting_after", request.query_params.get("starting_after")),
        ("Last-Event-ID", request.headers.get("last-event-id")),
    ):
        if given:
            if not (given.isascii() and given.isdigit() and len(given) < 10):
                raise invalid(f"{field} is {given[:64]!r}; the number of an event is needed", field)
            return int(given) + 1
    return 0
