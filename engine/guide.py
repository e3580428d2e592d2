"""A request's constraint while it is answered: what may come next, what must, and what its budget leaves room for.

A token is drawn by the mask, then proposed: it is taken only if the answer can still be completed with the tokens that
are left, the end token included. So a constrained answer is always complete. Imports no torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Row
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from espalier.engine.atlas import Atlas, Place, Told
from espalier.engine.canonical import MOST_CONTEXT, Canonical, Forced
from espalier.grammar import Cursor, Grammar, RejectedError

Plan = tuple[int, ...] | None
Tokens = Row[int] | NDArray[np.int32]

MOST_FORCED = 512
"""Tokens that are forced in one step; if there are more, the next one is drawn from a mask that allows nothing else."""
MOST_DRAFTED = 8
"""Tokens that are computed before it is certain that they come."""


class Draft(NamedTuple):
    """A token that probably comes, and where the answer stands behind it."""

    token: int
    place: Place

    def few(self) -> NDArray[np.int32] | None:
        """The tokens that may follow it, where they are few."""
        return self.place.cursor.copy().few()


class Guide:
    """Owns the cursor of one request. `canonical` is None where forced text is left to the mask; `atlas` is shared by
    the guides of a grammar.
    """

    __slots__ = (
        "_canonical",
        "_end_token",
        "_end_tokens",
        "_own",
        "_place",
        "_plan",
        "_proposed",
        "_told",
        "atlas",
        "has_parts",
        "is_closed_by_budget",
    )

    def __init__(self, grammar: Grammar, canonical: Canonical | None, atlas: Atlas | None = None) -> None:
        self.atlas = Atlas(grammar) if atlas is None else atlas
        self._canonical, self._end_tokens = canonical, grammar.end_tokens
        self._end_token = grammar.end_token if grammar.end_tokens else None
        self.has_parts = grammar.has_parts
        self._told: deque[Told] = deque()
        self._proposed: tuple[Place, Plan, Told] | None = None
        self._own: Cursor | None = None
        self._move(self.atlas.start)
        # A short completion from here on as far as one is being followed. What is short a token later may take another
        # way that is longer: only who keeps to one completion comes closer to its end with each token.
        self._plan: Plan = None
        self.is_closed_by_budget = False

    def _move(self, place: Place) -> None:
        """Stand at a place."""
        self._place, self._own = place, None

    @property
    def _cursor(self) -> Cursor:
        """A cursor of one's own, made when it is needed: the mask that it remembers goes when the guide moves."""
        if self._own is None:
            self._own = self._place.cursor.copy()
        return self._own

    @property
    def closing_cost(self) -> int:
        """Tokens of a short answer from here on, with the end token where it has to be drawn."""
        return self._cursor.closing_cost()

    @property
    def is_over(self) -> bool:
        """Whether the answer is complete and nothing may follow but its end."""
        return self._place.is_over

    @property
    def is_open(self) -> bool:
        """Whether it is known that something may come next, and nothing must, whatever came before."""
        return (self._canonical is None or self._place.is_open) and not self._place.is_over

    def fill(self, out: NDArray[np.int32]) -> None:
        """Write the mask of the next token into int32[num_words]."""
        self._cursor.fill(out)

    def few(self) -> NDArray[np.int32] | None:
        """The tokens that may come next, where they are few."""
        return self._cursor.few()

    def propose(self, token: int, num_left: int) -> bool:
        """Whether a token that the mask allows may be the next one if `num_left` may follow it.

        Raises RejectedError if the mask does not allow it.
        """
        after, told = self._place.after.get(token) or self.atlas.step(self._place, token)
        fits, plan = self._fits(after, (token,), num_left)
        if not fits:
            self.is_closed_by_budget = True
            return False
        self._proposed = after, plan, told
        return True

    def _fits(self, after: Place, tokens: Row[int], num_left: int) -> tuple[bool, Plan]:
        """Whether a completion fits behind some tokens, and the one that is followed, if that is why."""
        if tokens[-1] in self._end_tokens or after.can_close_within(num_left):
            return True, None
        plan = self._plan
        if plan is not None and plan[: len(tokens)] == tuple(tokens) and len(plan) - len(tokens) <= num_left:
            return True, plan[len(tokens) :]
        return False, None

    def can_end(self) -> int | None:
        """An end token, if the answer may end here."""
        return self._end_token if self._cursor.is_complete() else None

    def fitting(self, num_left: int) -> NDArray[np.int32]:
        """The tokens that may come next if `num_left` may follow: all that fit; of many allowed, only the first one of
        a short completion, which is followed from here on. One fits if any completion does.
        """
        if self._plan is None:
            self._plan = tuple(self._cursor.closing_tokens())
        allowed = self.few()
        if allowed is None:
            return np.array(self._plan[:1], dtype=np.int32)
        fits = [token for token in allowed.tolist() if self.propose(token, num_left)]
        self._proposed = None
        return np.array(fits, dtype=np.int32)

    def take(self) -> None:
        """The proposed token was chosen."""
        assert self._proposed is not None, "no token was proposed"
        place, self._plan, told = self._proposed
        self._move(place)
        self._proposed = None
        if self.has_parts:
            self._told.append(told)

    def told(self) -> Told:
        """What the next of the taken tokens turned out to be: to be asked for once a token, where there are parts."""
        return self._told.popleft()

    def unsettled(self) -> Told:
        """What is still open of the bytes read, if the answer ends here."""
        return self._cursor.unsettled()

    def jump(self, before: Tokens, num_left: int) -> list[int]:
        """The tokens that must come next, taken; `before` are the last tokens of the text, newest last.

        The tokens that the tokenizer itself would write, and after them each that is the only one allowed. Never more
        than leaves room for the rest of the answer within `num_left`.
        """
        place = self._place
        if self._canonical is None or place.is_open:
            return []
        known = place.forced.get(tuple(map(int, before[-place.span :])))
        if known is not None:
            tokens, told, end = known
            if not tokens:
                return []
            fits, plan = self._fits(end, tokens, num_left - len(tokens))
            if fits:
                self._plan = plan
                self._move(end)
                self._told.extend(told)
                return list(tokens)
        return self._find_forced([int(token) for token in before], num_left)

    def _find_forced(self, before: list[int], num_left: int) -> list[int]:
        """The same where it is not known, or not all of it fits."""
        start = self._place
        noted = start.cursor.noted(before[-1]) if before else None
        if noted is not None and (not noted or self._takes(noted, num_left)):
            self._note(start, before, noted)
            return list(noted)
        num_before = 1
        found: list[int] = []
        behind = list(before)
        while len(found) < MOST_FORCED:
            step, size = self._certain(behind)
            num_before = max(num_before, size - len(found))
            step = step or self._only()
            if not step:
                if not found and not size:
                    start.is_open = True
                if before and num_before == 1:
                    start.cursor.note(before[-1], tuple(found))
                if before and num_before < MOST_CONTEXT:
                    start.span = max(start.span, num_before)
                    self._note(start, before, tuple(found))
                break
            if not self._takes(step, num_left - len(found)):
                break
            found += step
            behind += step
        return found

    def draft(self, last: int) -> list[Draft]:
        """What probably comes next where something must come, but the mask has the last word on its tokens.

        `last` is the newest token of the text. The guide does not move.
        """
        if self._canonical is None or self._place.is_open or not self._place.ahead.forced:
            return []
        place = self._place
        drafts: list[Draft] = []
        with suppress(RejectedError):
            for token in self._canonical.probable(last, place.ahead.forced, MOST_DRAFTED):
                place = (place.after.get(token) or self.atlas.step(place, token))[0]
                drafts.append(Draft(token, place))
        return drafts

    def _note(self, start: Place, before: list[int], tokens: tuple[int, ...]) -> None:
        """Let all who come to a place know the tokens that must come there, which were taken just now."""
        told = tuple(islice(self._told, len(self._told) - len(tokens), None)) if self.has_parts else ()
        self.atlas.note(start, tuple(before[-start.span :]), (tokens, told, self._place))

    def _certain(self, before: list[int]) -> tuple[list[int], int]:
        """What the tokenizer would write for what must come, and how many of the tokens before that is for."""
        ahead = self._place.ahead
        if not ahead.forced or ahead.has_special or self._canonical is None:
            return [], 0
        then = None if ahead.then and not ahead.further else ahead.further
        return self._canonical.find(before, Forced(ahead.forced, then, ahead.may_end))

    def _only(self) -> list[int]:
        few = self.few()
        if few is None or len(few) != 1 or int(few[0]) in self._end_tokens:
            return []
        return [int(few[0])]

    def _takes(self, tokens: Row[int], num_left: int) -> bool:
        """Take all of them, if what then remains of the budget still completes the answer."""
        cursor: Cursor = self._place.cursor.copy()
        told = [cursor.accept(token) for token in tokens]
        after = self.atlas.place(cursor)
        fits, plan = self._fits(after, tokens, num_left - len(tokens))
        if fits:
            self._plan = plan
            self._move(after)
            if self.has_parts:
                self._told.extend(told)
        return fits
