"""A search over plans: the conversation is forked, branches share what was computed, the best goes on. Like this:

python examples/agents/plan_search.py "Plan a day in Oslo."
"""

import asyncio
import sys
from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

from msgspec import Meta

from espalier.gateway.sdk import Agent, Client, Session, Settings


@dataclass
class Plan:
    """A plan, and how well it fits."""

    steps: Annotated[list[Annotated[str, Meta(max_length=40)]], Meta(min_length=1, max_length=4)]
    score: Annotated[int, "from 0 to 10", Meta(ge=0, le=10)]


async def main(task: str) -> None:
    """Ask three times from the same point, and go on from the best plan."""
    async with Client() as client:
        agents = [Agent(client, settings=Settings(temperature=1.0, seed=seed, max_tokens=200)) for seed in range(3)]
        root = Session(f"search-{uuid4().hex}", model=client)
        await agents[0].run(task, session=root)
        forks = [await root.fork() for _ in agents]
        asked = zip(agents, forks, strict=True)
        runs = await asyncio.gather(*(one.run("Make a plan.", answer=Plan, session=fork) for one, fork in asked))
        score, best = max((run.answer.score, number) for number, run in enumerate(runs))
        last = await agents[0].run("Sum it up.", session=forks[best])
        print(f"plan {best} of {len(forks)}, score {score}: {runs[best].answer.steps}\n{last.answer}")


asyncio.run(main(sys.argv[1]))
