"""What an answer says beside its API: what was left out, what of a schema is enforced, which turn it is."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from espalier.gateway.service import Prepared
from espalier.gateway.wire.answers import Extras, LostAnswer
from espalier.sessions import Turn


def extras_of(prepared: Prepared, turn: Turn | None = None) -> Extras | UnsetType:
    """The `espalier` block of an answer, stored as `turn` or not; left out where it would be empty."""
    prompt = prepared.prompt
    lost = None if prompt.splice is None else prompt.splice.lost
    extras = Extras(
        truncation=prompt.truncation,
        schema=prepared.coverage,
        session_id=None if turn is None else turn.session_id,
        turn_id=None if turn is None else turn.id,
        lossless=None if turn is None else lost is None,
        lost=None if lost is None else LostAnswer(lost.turn_id, lost.token, lost.reason),
    )
    return UNSET if extras == Extras() else extras
