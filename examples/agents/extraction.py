"""From a text to a typed value: the grammar makes the answer fit, the type makes it yours.

Start `espalier serve`, then:

    python examples/agents/extraction.py "I go to Oslo for 3 days, then to Rome for 2."
"""

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from espalier.gateway.sdk import Agent, Settings


@dataclass
class Stop:
    """A place on the way."""

    city: Annotated[str, "its name", Meta(min_length=1, max_length=40)]
    days: Annotated[int, "how long", Meta(ge=0, le=365)]


@dataclass
class Trip:
    """A trip."""

    stops: Annotated[list[Stop], Meta(min_length=1, max_length=5)]
    mood: Literal["holiday", "work", "unknown"]


agent = Agent(instructions="Put what the user says into JSON.", settings=Settings(temperature=0, max_tokens=200))
trip = agent.run_sync(sys.argv[1], answer=Trip).answer
for stop in trip.stops:
    print(f"{stop.days} days in {stop.city}")
print(trip.mood)
