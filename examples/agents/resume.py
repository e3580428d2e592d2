"""A run that survives kill -9: start it again with the same words, and no tool is done twice.

Start `espalier serve`, then:

    python examples/agents/resume.py trip-42 "Book a room in Oslo."     # kill it, start it again
"""

import os
import signal
import sys
from pathlib import Path

from espalier.gateway.sdk import Agent, Call, Session, Settings, tool

LEDGER = Path("bookings.txt")


@tool
def book_room(city: str, call: Call) -> str:
    """Book a room in a city."""
    with LEDGER.open("a") as ledger:
        ledger.write(f"{city} {call.key}\n")
    if "DIE_AFTER_BOOKING" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"a room in {city} is booked"


name, words = sys.argv[1:]
agent = Agent(tools=[book_room], settings=Settings(tool_choice="book_room", temperature=0, max_tokens=200))
session = Session(name, journal=f"{name}.journal")
if session.is_unfinished():
    print("a run was not finished: it goes on where it ended")
run = agent.run_sync(words, session=session, key=words)
print(run.answer)
print(f"{len(LEDGER.read_text().splitlines())} rooms booked")
