"""What stays the same from run to run of an agent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from espalier.gateway.sdk.hooks import Hooks
from espalier.gateway.sdk.limit import Limit
from espalier.gateway.sdk.model import Model, Settings
from espalier.gateway.sdk.toolbox import Toolbox
from espalier.gateway.sdk.trace import Tracer
from espalier.gateway.sdk.usage import Price


@dataclass(frozen=True, slots=True)
class Setup:
    """What stays the same from run to run of an agent."""

    model: Model
    toolbox: Toolbox
    settings: Settings
    name: str
    limits: tuple[Limit, ...] = ()
    hooks: Hooks = field(default_factory=Hooks)
    tracer: Tracer | None = None
    price: Price | None = None
    corrections: int = 0
    clock: Callable[[], float] = time.monotonic

    def later_settings(self) -> Settings:
        """The settings of all turns but the first: nothing has to be called any more."""
        is_free = self.settings.tool_choice in (None, "auto", "none")
        return self.settings if is_free else replace(self.settings, tool_choice="auto")
