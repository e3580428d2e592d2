"""What an agent builder may put between a run and its tools, and where a run is watched from."""

from __future__ import annotations

from espalier.gateway.sdk.call import Call
from espalier.gateway.sdk.event import Event


class Hooks:
    """Override what you need; as it stands it does nothing. What a hook raises ends the run."""

    async def before_call(self, call: Call) -> str | None:
        """Asked before a tool runs. A text is what the model is told instead, and the tool is not run; None lets it
        run.
        """
        return None

    async def on_event(self, event: Event[object]) -> None:
        """Told everything that happens, in its order."""
