"""Sessions: conversations as trees of turns, their tokens, and the durable log that loses none of them."""

from espalier.sessions.errors import SessionError
from espalier.sessions.operation import Begun
from espalier.sessions.path import Path
from espalier.sessions.removal import DroppedTip, Removed
from espalier.sessions.session import Session
from espalier.sessions.sessions import Sessions
from espalier.sessions.turn import Completion, Draft, Idempotency, Mark, Record, Turn
from espalier.sessions.value import JsonObject, JsonValue, new_id
from espalier.sessions.view import Page

__all__ = [
    "Begun",
    "Completion",
    "Draft",
    "DroppedTip",
    "Idempotency",
    "JsonObject",
    "JsonValue",
    "Mark",
    "Page",
    "Path",
    "Record",
    "Removed",
    "Session",
    "SessionError",
    "Sessions",
    "Turn",
    "new_id",
]
