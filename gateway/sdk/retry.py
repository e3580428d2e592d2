"""When to ask again: a decision without a clock. What the server says (Retry-After) goes before what we would guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retry:
    """How often to ask, all in all, and how long to wait between: twice as long each time, up to `most_s`.

    A server that asks for more patience than `patience_s` is not asked again. The defaults wait half a minute or so,
    which is what a server needs to start again.
    """

    attempts: int = 10
    first_s: float = 0.25
    most_s: float = 8.0
    patience_s: float = 60.0

    def delay_s(self, attempt: int, told_s: float | None, random: float) -> float | None:
        """How long to wait after attempt number `attempt`, from 1; None to give up. `random` lies in [0, 1)."""
        if attempt >= self.attempts or (told_s or 0) > self.patience_s:
            return None
        if told_s is not None:
            return told_s
        # Half of it is fixed, half is drawn, so that clients that failed together don't come back together.
        return min(self.most_s, self.first_s * 2.0 ** (attempt - 1)) * (0.5 + random / 2)


def is_retried(status: int, headers: Mapping[str, str], code: str | None) -> bool:
    """Whether asking again in the same words may help."""
    if (told := headers.get("x-should-retry")) in ("true", "false"):
        return told == "true"
    return status in RETRIED or (status == 409 and code == "session_busy")


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """What Retry-After says, in seconds or as a date (RFC 9110, section 10.2.3); None where it says nothing."""
    text = headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        when: datetime = parsedate_to_datetime(text)
        return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, TypeError):
        return None
