"""How far a run has come: a fold over the records of its journal, the same while it runs and after a crash.

Pure: records go in. `messages` are the run's own, those from `num_sent` on are not known to the server yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import assert_never

from espalier.gateway.sdk.call import Call, ToolResult
from espalier.gateway.sdk.journal import Began, CallBegan, CallDone, Corrected, Ended, Record, TurnDone
from espalier.gateway.sdk.message import Message
from espalier.gateway.sdk.reply import Reply
from espalier.gateway.sdk.usage import Usage


class Progress:
    """The state of one run."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.run_id = ""
        self.head: str | None = None
        self.messages: list[Message] = []
        self.num_sent = 0
        self.turns = 0
        self.num_corrections = 0
        self.usage = Usage()
        self.reply: Reply | None = None
        self._begun: set[str] = set()
        self._results: dict[str, CallDone] = {}
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Take one step."""
        match record:
            case Began():
                self.run_id, self.messages, self.head = record.run, list(record.prompt), record.head
            case TurnDone():
                self.close_turn()
                self.turns += 1
                self.usage += record.reply.usage
                self.messages.append(record.reply.message())
                self.num_sent = len(self.messages)
                self.reply = record.reply
                self.head = record.reply.turn_id or None
            case Corrected():
                self.num_corrections += 1
                self.messages.append(record.message)
                self.reply = None
            case CallBegan():
                self._begun.add(record.key)
            case CallDone():
                self._results[record.key] = record
            case Ended():
                self.reply = None
            case _:
                assert_never(record)

    def calls(self) -> list[Call]:
        """The calls of the latest reply, in its order."""
        made = self.reply.calls if self.reply else ()
        return [
            self.call(self.turns, index, one.id, one.function.name, one.function.arguments)
            for index, one in enumerate(made)
        ]

    def call(self, turn: int, index: int, call_id: str, name: str, arguments: str) -> Call:
        """A call with its key: run, turn, place, tool and arguments make it, so a turn made anew gives the same."""
        parts = "\0".join((self.run_id, str(turn), str(index), name, arguments))
        return Call(call_id, name, arguments, hashlib.sha256(parts.encode()).hexdigest()[:32])

    def result(self, call: Call) -> ToolResult | None:
        """What is known of a call's result."""
        done = self._results.get(call.key)
        return ToolResult(call, done.content, done.outcome) if done else None

    def is_begun(self, call: Call) -> bool:
        """Whether the call's tool was started, by this process or one before it."""
        return call.key in self._begun

    def close_turn(self) -> None:
        """Put the results of the latest reply's calls, which are all there, behind it."""
        for call in self.calls():
            result = self.result(call)
            assert result is not None, f"the call {call.id} has no result"
            self.messages.append(Message("tool", result.content, tool_call_id=call.id))
        self.reply = None
