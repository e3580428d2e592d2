"""Every way in which a run may stop is a type; the first is the one that was hoped for.

    Stop
    ├── Answered              the model answered; never leaves `Agent.run`, which returns the run
    ├── LimitReached          `limit` is the one that was reached
    │   ├── TurnsReached
    │   ├── TokensReached
    │   ├── CostReached
    │   └── TimeReached
    ├── AnswerCut             the answer ran into max_tokens, or into the end of the context
    ├── AnswerFiltered        the server's content filter ended it
    └── AnswerUnfit           the text does not fit the type that was asked for, after all corrections

Each holds the `run` as far as it came, so nothing that was paid for is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from espalier.gateway.sdk.errors import SdkError
from espalier.gateway.sdk.run import Run

if TYPE_CHECKING:
    from espalier.gateway.sdk.limit import Limit


class Stop(SdkError):  # noqa: N818 - a way to stop is no error
    """A run's end. `run.answer` holds what text there is."""

    def __init__(self, message: str, run: Run[object]) -> None:
        super().__init__(message)
        self.run = run

    def __reduce__(self) -> tuple[object, ...]:
        """How it goes to another process: a pool whose worker ends with what can't be made again is broken."""
        return type(self), (self.args[0], self.run), self.__dict__


class Answered(Stop):
    """The model answered; `run.answer` is the answer in its type."""


class LimitReached(Stop):
    """A limit was reached before the answer was there."""

    def __init__(self, limit: Limit, run: Run[object]) -> None:
        super().__init__(f"the run reached its limit, {limit}, after {run.turns} turns", run)
        self.limit = limit

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.limit, self.run), self.__dict__


class TurnsReached(LimitReached):
    """As many turns as `Turns` allows."""


class TokensReached(LimitReached):
    """As many tokens as `Tokens` allows."""


class CostReached(LimitReached):
    """What `Cost` allows is spent."""


class TimeReached(LimitReached):
    """The time of `Seconds` is over; what ran was cancelled."""


class AnswerCut(Stop):
    """The answer is not whole: max_tokens or the context ended it."""


class AnswerFiltered(Stop):
    """The server's content filter ended the answer."""


class AnswerUnfit(Stop):
    """What the model said does not fit the answer's type."""
