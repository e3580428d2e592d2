"""From a turn to what its answer has to be: reasoning? then text, or text and calls, or calls, or the asked-for answer.

The parts that it names are `reasoning`, `text`, `answer`, `name` and `arguments`; where calls are written with keywords
`key`, `value` and `close` instead of `arguments`. `turn_reader` reads them. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from espalier.engine.chat_template import ChatTemplate
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.call_format import (
    FORMATS,
    REASONINGS,
    CallFormat,
    ReasoningFormat,
    detect,
    detect_reasoning,
    opens,
)
from espalier.gateway.errors import invalid
from espalier.gateway.keyword_arguments import keyword_arguments
from espalier.gateway.options import GatewayOptions
from espalier.gateway.turn import Tool, Turn, json_constraint
from espalier.grammar import AnyConstraint, Literal, OneOf, Regex, Repeat, Sequence, Special, Text

STOPPABLE = ("text", "answer")
"""The parts in which stop strings are looked for."""
NOTHING = Sequence(())
_SYNTAX = re.compile(r"[\^$\\.*+?()\[\]{}|/]")
# What else says which members an object may have: with one of these, a schema is not closed.
_OPEN = frozenset(
    "additionalProperties patternProperties unevaluatedProperties propertyNames allOf anyOf oneOf not if then else "
    "dependentSchemas $ref $dynamicRef minProperties".split()
)


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """How one model lays its answers out.

    `special` are the ids of its tokenizer's special tokens by their spelling. `is_reasoning_open`: its template opens
    the reasoning in the prompt. `strict_tools`: arguments satisfy their schema, also of tools that don't say `strict`.
    """

    calls: CallFormat | None = None
    reasoning: ReasoningFormat | None = None
    is_reasoning_open: bool = False
    special: Mapping[str, int] = field(default_factory=dict)
    strict_tools: bool = True

    @classmethod
    def of(cls, tokenizer: Tokenizer, template: ChatTemplate | None, options: GatewayOptions) -> AnswerFormat:
        """The format of a checkpoint, as far as the options leave it open."""
        text, opening = ("", "") if template is None else (template.text, template.opening())
        calls, reasoning = FORMATS.get(options.call_format), REASONINGS.get(options.reasoning)
        if options.call_format == "auto":
            calls = detect(text)
        if options.reasoning == "auto":
            reasoning = detect_reasoning(text, opening)
        return cls(
            calls=calls,
            reasoning=reasoning,
            is_reasoning_open=reasoning is not None and opens(reasoning, opening),
            special={name: token for name, token in tokenizer.added_tokens.items() if token in tokenizer.special_ids},
            strict_tools=options.strict_tools,
        )

    def constraint(self, turn: Turn) -> AnyConstraint | None:
        """What the turn's answer has to be; None for a free text. Raises ApiError for what this model can't do."""
        tools, calls = turn.callable_tools, self.calls
        if not turn.tools and turn.answer is None and self.reasoning is None:
            return None
        if not tools:
            return self._behind_reasoning(turn.answer or self._text(), is_text=turn.answer is None)
        if calls is None:
            message = "the format of this model's calls is not known; the server's option call_format names one"
            raise invalid(f"tools: {message}", "tools", "unsupported_parameter")
        called = self._calls(calls, tools, turn.parallel)
        if turn.choice.mode == "required":
            return self._behind_reasoning(called, is_text=False)
        if turn.answer is not None:
            return self._behind_reasoning(OneOf((called, turn.answer)), is_text=False)
        if calls.marker is None:
            return self._behind_reasoning(OneOf((called, self._text())), is_text=False)
        return self._behind_reasoning(Sequence((self._text(), OneOf((NOTHING, called)))), is_text=True)

    def _text(self) -> AnyConstraint:
        """A text without what begins a call."""
        calls, reasoning = self.calls, self.reasoning
        banned = "" if calls is None or not calls.not_text else rf"(?!\s*{calls.not_text})"
        if reasoning is not None and not self.is_reasoning_open and reasoning.begin not in self.special:
            banned += f"(?!{escaped(reasoning.begin)})"
        if calls is not None and calls.marker is not None and calls.marker not in self.special:
            banned += rf"(?![\s\S]*{escaped(calls.marker)})"
        return Regex(rf"{banned}[\s\S]*", part="text") if banned else Text(part="text")

    def _calls(self, form: CallFormat, tools: tuple[Tool, ...], parallel: bool) -> AnyConstraint:
        options = OneOf(tuple(self._call(form, tool) for tool in tools))
        call = Sequence((*self._spelled(form.call_begin), options, *self._closing(form)))
        more: AnyConstraint = Repeat(Sequence((*self._spelled(form.separator), call))) if parallel else NOTHING
        token = self.special.get(form.lead or "")
        lead: AnyConstraint = NOTHING if token is None else OneOf((NOTHING, Special(token)))
        return Sequence((lead, *self._spelled(form.list_begin), call, more, *self._spelled(form.list_end)))

    def _call(self, form: CallFormat, tool: Tool) -> AnyConstraint:
        name = Literal(tool.name.encode(), part="name")
        return Sequence((name, *self._spelled(form.between), self.arguments(tool)))

    def arguments(self, tool: Tool) -> AnyConstraint:
        """What the arguments of a call have to be. Raises ApiError if that can't be kept."""
        if self.calls is not None and self.calls.arguments == "keywords":
            return keyword_arguments(parameters(tool), tool, is_free=not self.is_strict(tool))
        schema: dict[str, object] = parameters(tool) if self.is_strict(tool) else {"type": "object"}
        return json_constraint(schema, tool.where, part="arguments")

    def is_strict(self, tool: Tool) -> bool:
        """Whether the tool's arguments satisfy its schema."""
        return self.strict_tools or tool.strict is True

    def _closing(self, form: CallFormat) -> Iterator[AnyConstraint]:
        if form.arguments == "keywords":
            yield Literal(form.call_end.encode(), part="close")
        else:
            yield from self._spelled(form.call_end)

    def _behind_reasoning(self, rest: AnyConstraint, *, is_text: bool) -> AnyConstraint:
        form = self.reasoning
        if form is None:
            return rest
        end = self.special.get(form.end, form.end.encode())
        # A text takes the line breaks that follow by itself; what reads the parts drops them.
        gap: AnyConstraint = NOTHING if is_text else Regex(r"\n{0,2}")
        thought = Sequence((Text(until=end, part="reasoning"), gap))
        if self.is_reasoning_open:
            return Sequence((thought, rest))
        return Sequence((OneOf((Sequence((*self._spelled(form.begin), thought)), NOTHING)), rest))

    def _spelled(self, text: str) -> Iterator[AnyConstraint]:
        """A text with the special tokens that it spells."""
        names = "|".join(re.escape(name) for name in sorted(self.special, key=len, reverse=True))
        for piece in re.split(f"({names})", text) if names else [text]:
            if piece in self.special:
                yield Special(self.special[piece])
            elif piece:
                yield Literal(piece.encode())


def parameters(tool: Tool) -> dict[str, object]:
    """The schema of a tool's arguments: an object, without arguments that the tool does not know."""
    schema: dict[str, object] = dict(tool.parameters)
    kind = schema.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise invalid(f"{tool.where} is of type {kind!r}; arguments are an object", tool.where, "invalid_schema")
    schema["type"] = "object"
    known, needed = schema.get("properties"), schema.get("required", [])
    is_told = isinstance(known, dict) and isinstance(needed, list) and all(name in known for name in map(str, needed))
    if is_told and not _OPEN & schema.keys():
        schema["additionalProperties"] = False
    return schema


def escaped(text: str) -> str:
    """A text as a pattern (ECMA-262)."""
    return _SYNTAX.sub(lambda found: "\\" + found[0], text)
