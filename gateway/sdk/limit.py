"""Limits of a run, each a type: `Agent(limits=[Turns(20), Cost(0.50), Seconds(60)])`.

Turns, tokens and cost are looked at before each turn, so the turn that crosses one is the last; the time ends what
runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from espalier.gateway.sdk.errors import DefinitionError
from espalier.gateway.sdk.run import Run
from espalier.gateway.sdk.stop import CostReached, LimitReached, TimeReached, TokensReached, TurnsReached


@dataclass(frozen=True, slots=True)
class Limit(ABC):
    """One of the limits below: a class, so that a list of several is a list of limits to a type checker."""

    most: float

    def __post_init__(self) -> None:
        if not self.most > 0:
            raise DefinitionError(f"{self}: a limit must be over 0")

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.most:g})"

    @abstractmethod
    def is_reached(self, run: Run[object]) -> bool:
        """Whether no further turn may begin."""


@dataclass(frozen=True, slots=True)
class Turns(Limit):
    """At most so many turns of the model."""

    def is_reached(self, run: Run[object]) -> bool:
        """Whether no further turn may begin."""
        return run.turns >= self.most


@dataclass(frozen=True, slots=True)
class Tokens(Limit):
    """So many tokens, prompts and answers of all turns together, as a bill counts them."""

    def is_reached(self, run: Run[object]) -> bool:
        """Whether no further turn may begin."""
        return run.usage.total_tokens >= self.most


@dataclass(frozen=True, slots=True)
class Cost(Limit):
    """So much money, in the currency of the price."""

    def is_reached(self, run: Run[object]) -> bool:
        """Whether no further turn may begin.

        Raises DefinitionError where turns were made and nobody knows their cost.
        """
        if run.turns and run.usage.cost is None:
            raise DefinitionError(f"{self} can't be kept: the server tells no cost; give the agent a price")
        return (run.usage.cost or 0) >= self.most


@dataclass(frozen=True, slots=True)
class Seconds(Limit):
    """So many seconds for the whole run; after a resume they begin anew."""

    def is_reached(self, run: Run[object]) -> bool:
        """Whether no further turn may begin."""
        return run.elapsed_s >= self.most


_STOPS: dict[type[Limit], type[LimitReached]] = {
    Turns: TurnsReached,
    Tokens: TokensReached,
    Cost: CostReached,
    Seconds: TimeReached,
}


def reached(limit: Limit, run: Run[object]) -> LimitReached:
    """The way to stop that belongs to a limit."""
    return _STOPS.get(type(limit), LimitReached)(limit, run)
