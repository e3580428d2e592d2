"""A call that a model made, and what came of it. Values only; who runs tools is `sdk.toolbox`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["done", "failed", "timed_out", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool. A tool with a parameter of this type is given it, and the model never sees that parameter.

    `key` is the same whenever this very call is made again, after a retry as after a crash: hand it on as the
    idempotency key of whatever the tool does. `arguments` is the text of a JSON object, as the model wrote it.
    """

    id: str
    name: str
    arguments: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model is told of a call.

    `outcome` is "done", or why there is no result: the tool or its arguments "failed", it "timed_out", a hook
    "refused" it, or the process ended while it ran, so that what it did is "unknown".
    """

    call: Call
    content: str
    outcome: Outcome = "done"
