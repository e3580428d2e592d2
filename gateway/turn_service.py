"""What becomes of a turn: checked, constrained and rendered before it goes to the engine, read as it comes back.

The gateway's one way from a `Turn` to an answer, for every API.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass

import msgspec

from espalier.engine.messages import SamplingParams
from espalier.gateway.answer_check import AnswerCheck
from espalier.gateway.prompter import Prompt, Prompter, Room
from espalier.gateway.result_opening import ResultOpening
from espalier.gateway.schema_check import SchemaCheck
from espalier.gateway.turn import Turn, check_turn
from espalier.gateway.turn_constraint import STOPPABLE, AnswerFormat
from espalier.gateway.turn_reader import TurnReader
from espalier.gateway.wire.answers import Coverage
from espalier.grammar import AnyConstraint
from espalier.sessions import Path

_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Planned:
    """A turn as the engine gets it, and what of its schemas is enforced (None: it has none)."""

    prompt: Prompt
    params: SamplingParams
    coverage: Coverage | None
    check: AnswerCheck | None = None


@dataclass(frozen=True, slots=True)
class TurnService:
    """Plans turns and reads their answers, for one model."""

    prompter: Prompter
    form: AnswerFormat
    schemas: SchemaCheck
    check_answers: bool = False
    opening: ResultOpening | None = None

    async def plan(
        self, turn: Turn, params: SamplingParams, room: Room, *, tenant: str = "", history: Path | None = None
    ) -> Planned:
        """`history` is what the turn continues. Raises ApiError with the field, TemplateError, ContextOverflowError."""
        check_turn(turn)
        constraint = self._constraint(turn, params)
        asked: list[tuple[str, AnyConstraint]] = [(t.where, self.form.arguments(t)) for t in turn.callable_tools]
        if turn.answer is not None:
            asked.append((turn.answer_where, turn.answer))
        coverage = await self.schemas.check(asked, tenant) if asked else None
        tools = [tool.told() for tool in turn.tools] or None
        prompt = await self.prompter.chat(turn.messages, room, tools=tools, history=history)
        told = msgspec.structs.replace(params, constraint=constraint, stop_in=STOPPABLE) if constraint else params
        check = AnswerCheck.of(turn, self.form.is_strict) if self.check_answers and asked else None
        return Planned(prompt, told, coverage, check)

    def ahead(self, prompt_ids: list[int], answer_ids: list[int]) -> list[int] | None:
        """What the next prompt begins with behind an answer that called tools; None if that is not known."""
        ends = frozenset(self.prompter.tokenizer.end_token_ids)
        behind = None if self.opening is None else self.opening.behind(answer_ids, ends)
        return None if behind is None else [*prompt_ids, *behind]

    def reader(self, params: SamplingParams) -> TurnReader:
        """What reads an answer with these parameters."""
        return TurnReader(self._new_call_id, has_parts=params.constraint is not None)

    def _constraint(self, turn: Turn, params: SamplingParams) -> AnyConstraint | None:
        """None also for a text whose reasoning stays in it: who ignores ends or reads markers wants it raw."""
        is_raw = params.ignore_eos or not params.skip_special_tokens
        if is_raw and not turn.callable_tools and turn.answer is None:
            return None
        return self.form.constraint(turn)

    def _new_call_id(self) -> str:
        length = self.form.calls.call_id_len if self.form.calls is not None else None
        if length is None:
            return f"call_{secrets.token_hex(12)}"
        return "".join(secrets.choice(_LETTERS) for _ in range(length))
