"""A path: the turns from a session's beginning to one of them, which are that turn's history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espalier.sessions.session import Session
from espalier.sessions.turn import Turn
from espalier.sessions.value import JsonObject


@dataclass(frozen=True, slots=True)
class Path:
    """Complete turns, oldest first, each the parent of the next; `session` is the one that was asked for."""

    session: Session
    turns: tuple[Turn, ...] = ()

    @property
    def tip(self) -> Turn | None:
        """The last turn."""
        return self.turns[-1] if self.turns else None

    def messages(self) -> list[JsonObject]:
        """All messages and answers, in order."""
        found: list[JsonObject] = []
        for turn in self.turns:
            found += turn.messages
            if turn.answer is not None:
                found.append(turn.answer)
        return found

    def token_ids(self) -> list[int]:
        """The context: what the model has read and written."""
        return context(self.turns)

    def up_to(self, turn_id: str | None) -> Path:
        """The path that ends in one of its turns, or is empty. Raises KeyError for a turn that is not on it."""
        if turn_id is None:
            return Path(self.session)
        for at, turn in enumerate(self.turns):
            if turn.id == turn_id:
                return Path(self.session, self.turns[: at + 1])
        raise KeyError(turn_id)


def context(turns: Sequence[Turn]) -> list[int]:
    """Token ids of a path's context."""
    token_ids: list[int] = []
    for turn in turns:
        del token_ids[turn.kept_len :]
        token_ids += turn.prompt_ids
        token_ids += turn.output_ids
    return token_ids
