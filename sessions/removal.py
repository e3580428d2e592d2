"""What goes when sessions are deleted. A turn stays as long as another session continues it, and is then that one's.

Pure: over ids and parents alone, so that a session with damaged rows can be deleted, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DroppedTip:
    """A removed branch: the tokens of its context, of which the first `shared_len` belong to turns that stay too.

    Whoever holds attention state of these tokens for the tenant, from `shared_len` on, drops it.
    """

    tenant: str
    session_id: str
    cache_salt: str
    token_ids: tuple[int, ...]
    shared_len: int


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed."""

    session_ids: tuple[str, ...] = ()
    turn_ids: tuple[str, ...] = ()
    tips: tuple[DroppedTip, ...] = ()

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.session_ids + other.session_ids, self.turn_ids + other.turn_ids, self.tips + other.tips)


@dataclass(frozen=True, slots=True)
class Split:
    """Of a session's turns: those that go, and for each that stays the session that has it from now on."""

    gone: frozenset[str]
    adopted: Mapping[str, str]


def split(parents: Mapping[str, str | None], bases: Mapping[str, str]) -> Split:
    """Divide the turns of a session that is deleted.

    `parents` gives the parent of each of its turns, `bases` for each other session the turn of these it was forked at.
    """
    adopted: dict[str, str] = {}
    for session_id, base in sorted(bases.items()):
        at: str | None = base
        while at is not None and at in parents and at not in adopted:
            adopted[at] = session_id
            at = parents[at]
    return Split(frozenset(parents) - frozenset(adopted), adopted)


def tips(parents: Mapping[str, str | None], gone: frozenset[str]) -> list[str]:
    """Those of the turns that go which nothing continues."""
    continued = {parent for turn, parent in parents.items() if turn in gone}
    return [turn for turn in parents if turn in gone and turn not in continued]
