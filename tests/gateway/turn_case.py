"""Turns of models with random weights in every call format, and a parser of whole answers that knows no grammar."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from espalier.engine import Engine, EngineOptions, Generate, Output, SamplingParams
from espalier.engine.loader import load
from espalier.engine.random_checkpoint import Shape, write_random_checkpoint
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.answer_event import AnswerEvent
from espalier.gateway.answer_text import Gathered
from espalier.gateway.call_format import FORMATS, REASONINGS
from espalier.gateway.turn import Tool, ToolChoice, Turn, json_answer
from espalier.gateway.turn_constraint import STOPPABLE, AnswerFormat
from espalier.gateway.turn_reader import TurnReader
from espalier.gateway.wire.requests import Message
from tests.engine.conftest import added, byte_level_spec

WORDS = (
    "the",
    " the",
    "get",
    "_we",
    "ather",
    '", "',
    '": ',
    '{"',
    "tool_call",
    "think",
    "\n\n",
    "é",
    "日本",
    "1",
    "tru",
)
TOOLS = (
    Tool(
        "get_weather",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 12},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
                "metric": {"type": "boolean"},
            },
            "required": ["city"],
        },
    ),
    Tool("get", {"type": "object", "properties": {}}),
    Tool(
        "get_all",
        {
            "type": "object",
            "properties": {
                "kinds": {"type": "array", "items": {"enum": ["a", 'b"]}', None, True]}, "maxItems": 3},
                "deep": {"$ref": "#/$defs/pair"},
            },
            "required": ["kinds", "deep"],
            "$defs": {
                "pair": {
                    "type": "object",
                    "properties": {"x": {"type": ["number", "null"], "minimum": -5}, "y": {"type": "string"}},
                    "required": ["x"],
                    "additionalProperties": False,
                }
            },
        },
    ),
)
ANSWER = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "ok": {"type": "boolean"}},
    "required": ["name", "ok"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """A model's habits: its format, its reasoning, and which of their markers are special tokens."""

    calls: str
    special: tuple[str, ...] = ()
    reasoning: str | None = None
    is_open: bool = False


LAYOUTS = {
    "hermes": Layout("hermes", ("<tool_call>", "</tool_call>")),
    "hermes in text": Layout("hermes"),
    "hermes behind thought": Layout("hermes", ("<tool_call>", "</tool_call>", "<think>", "</think>"), "think"),
    "hermes behind thought, in text": Layout("hermes", (), "think"),
    "hermes behind open thought": Layout("hermes", ("<tool_call>",), "think", is_open=True),
    "llama3": Layout("llama3", ("<|python_tag|>",)),
    "llama3 behind thought": Layout("llama3", ("<think>", "</think>"), "think"),
    "mistral": Layout("mistral", ("[TOOL_CALLS]",)),
    "mistral in text": Layout("mistral"),
    "mistral-v3": Layout("mistral-v3", ("[TOOL_CALLS]",)),
    "mistral-args": Layout("mistral-args", ("[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]"), "mistral-think"),
    "pythonic": Layout("pythonic"),
    "pythonic behind thought": Layout("pythonic", ("<think>", "</think>"), "think"),
}
SIGNS = {
    "hermes": ("<tool_call>",),
    "llama3": ('{"name": "get", "parameters": ',),
    "mistral": ("[TOOL_CALLS]",),
    "mistral-v3": ("[TOOL_CALLS]",),
    "mistral-args": ("[TOOL_CALLS]",),
    "pythonic": ("[get", "[get_all("),
}
"""What the vocabulary has tokens for, so that random weights begin calls where markers are text."""
CHOICES: dict[str, dict[str, Any]] = {
    "auto": {},
    "required": {"choice": ToolChoice("required")},
    "one": {"choice": ToolChoice("required"), "parallel": False},
    "named": {"choice": ToolChoice("required", frozenset({"get_all"}))},
    "allowed": {"choice": ToolChoice("auto", frozenset({"get", "get_weather"}))},
    "none": {"choice": ToolChoice("none")},
    "answer": {"answer": json_answer(ANSWER)},
    "answer alone": {"answer": json_answer(ANSWER), "tools": ()},
}


@dataclass(slots=True)
class Parsed:
    """A whole answer."""

    reasoning: str = ""
    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)


class Model:
    """A tiny model with random weights that writes calls in one way."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._said = tuple(sign for sign in SIGNS[layout.calls] if sign not in layout.special)
        if layout.reasoning is not None:
            form = REASONINGS[layout.reasoning]
            self._said += tuple(sign for sign in (form.begin, form.end) if sign not in layout.special)
        spec = byte_level_spec(WORDS, (*layout.special, "<|end|>"))
        first = 1 + max(token["id"] for token in spec["added_tokens"])
        spec["added_tokens"] += [added(first + at, sign, special=False) for at, sign in enumerate(self._said)]
        write_random_checkpoint(folder, Shape(32, 1, 2, 1, 48, 400, 2048), tokenizer=spec)
        self._options = EngineOptions(model=str(folder), kv_memory_bytes=8 * 2**20, threads=1, max_running=64)
        self._loaded = load(self._options)
        self.tokenizer: Tokenizer = self._loaded.tokenizer
        self.layout = layout
        self.form = AnswerFormat(
            calls=FORMATS[layout.calls],
            reasoning=None if layout.reasoning is None else REASONINGS[layout.reasoning],
            is_reasoning_open=layout.is_open,
            special={name: self.tokenizer.added_tokens[name] for name in layout.special},
        )

    def turn(self, choice: str) -> Turn:
        """A turn with the tools above, or without."""
        return Turn([Message("user", "?")], **{"tools": TOOLS, **CHOICES[choice]})

    def answers(self, choice: str, count: int, seed: int, **params: Any) -> list[list[Output]]:
        """The outputs of answers to such a turn, most of which come to calls and to an end."""
        constraint, random = self.form.constraint(self.turn(choice)), Random(seed)
        engine = Engine(self._options, loaded=self._loaded)
        for at in range(count):
            budget = random.choice((80, 130, 250))
            asked = SamplingParams(
                temperature=1.5, seed=seed + at, max_tokens=budget, constraint=constraint, stop_in=STOPPABLE,
                logit_bias=self._biases(random), **params,
            )  # fmt: skip
            engine.submit(Generate(str(at), [random.randrange(256) for _ in range(5)], asked))
        told: dict[str, list[Output]] = {str(at): [] for at in range(count)}
        while engine.has_work():
            for output in engine.step().outputs:
                assert output.finish_reason != "error", output
                told[output.request_id].append(output)
        return list(told.values())

    def _biases(self, random: Random) -> tuple[tuple[int, float], ...]:
        """Random weights say markers and ends too seldom."""
        tokens = list(self.tokenizer.added_tokens.values())
        signs = [token for sign in '"}])<[{,' for token in self.tokenizer.encode(sign)]
        push = random.choice((2.0, 4.0, 6.0))
        return tuple({**dict.fromkeys(signs, push), **dict.fromkeys(tokens, push + 1)}.items())

    def written(self, outputs: list[Output]) -> str:
        """The whole text with its markers."""
        tokens = [token for output in outputs for token in output.token_ids]
        return self.tokenizer.decode(tokens, skip_special=False).removesuffix("<|end|>")


def read(outputs: list[Output]) -> list[AnswerEvent]:
    """The events of an answer; calls are numbered."""
    ids = iter(range(1000))
    reader = TurnReader(lambda: f"call_{next(ids)}")
    return [event for output in outputs for event in reader.read(output)]


def gathered(outputs: list[Output]) -> Gathered:
    """The whole answer by its events."""
    whole = Gathered()
    for event in read(outputs):
        whole.add(event)
    return whole


def parse(layout: Layout, choice: str, text: str) -> Parsed:
    """What a whole answer holds, found without a grammar: by searching, and by Python's own JSON and Python parsers."""
    parsed, is_free = Parsed(), CHOICES[choice].get("choice", ToolChoice()).mode != "required"
    if layout.reasoning is not None:
        form = REASONINGS[layout.reasoning]
        if layout.is_open or text.startswith(form.begin):
            inner, _, text = text.removeprefix("" if layout.is_open else form.begin).partition(form.end)
            parsed.reasoning, text = inner.lstrip("\n").rstrip(), text.lstrip("\n")
    read_calls = {"pythonic": _python_calls, "llama3": _llama_calls}.get(layout.calls, _marked_calls)
    if choice in ("none", "answer alone"):
        parsed.text = text
    else:
        parsed.text, parsed.calls = read_calls(layout, text)
    assert is_free or parsed.calls, text
    return parsed


def _marked_calls(layout: Layout, text: str) -> tuple[str, list[tuple[str, Any]]]:
    form = FORMATS[layout.calls]
    assert form.marker is not None
    before, marker, rest = text.partition(form.marker)
    if not marker:
        return text, []
    rest, calls = marker + rest, []
    decoder = json.JSONDecoder()
    if form.list_begin:
        values, end = decoder.raw_decode(rest.removeprefix(form.list_begin[:-1]))
        assert rest == form.list_begin[:-1] + rest.removeprefix(form.list_begin[:-1])[:end]
        return before.rstrip(), [(value["name"], value["arguments"]) for value in values]
    while rest:
        if layout.calls == "mistral-args":
            name, _, rest = rest.removeprefix(form.marker).partition("[ARGS]")
            value, end = decoder.raw_decode(rest)
            calls.append((name, value))
            rest = rest[end:]
        else:
            rest = rest.removeprefix(f"{form.marker}\n")
            value, end = decoder.raw_decode(rest)
            calls.append((value["name"], value["arguments"]))
            assert rest[end:].startswith("\n</tool_call>")
            rest = rest[end:].removeprefix("\n</tool_call>").removeprefix("\n")
    return before.rstrip(), calls


def _llama_calls(layout: Layout, text: str) -> tuple[str, list[tuple[str, Any]]]:
    rest = text.removeprefix("<|python_tag|>")
    if not rest.startswith('{"name": "') or '", "parameters": ' not in rest:
        return text, []
    calls: list[tuple[str, Any]] = []
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        calls.append((value["name"], value["parameters"]))
        rest = rest[end:].removeprefix("; ")
    return "", calls


def _python_calls(layout: Layout, text: str) -> tuple[str, list[tuple[str, Any]]]:
    if not re.match(r"\[\w+\(", text):
        return text, []
    tree = ast.parse(text, mode="eval").body
    assert isinstance(tree, ast.List)
    return "", [_python_call(call) for call in tree.elts]


def _python_call(call: ast.expr) -> tuple[str, Any]:
    assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args
    return call.func.id, {str(pair.arg): ast.literal_eval(pair.value) for pair in call.keywords}


def cuts(outputs: list[Output], random: Random) -> Iterator[list[Output]]:
    """The same answer in other pieces: all at once, every event alone, every character alone, and at random."""
    last = outputs[-1]
    parts = [event for output in outputs for event in output.parts]
    letters = [
        msgspec.structs.replace(event, text=letter) if hasattr(event, "text") else event
        for event in parts
        for letter in (event.text if hasattr(event, "text") else "x")
    ]
    blank = msgspec.structs.replace(last, finish_reason=None, parts=())
    yield [msgspec.structs.replace(last, parts=tuple(parts))]
    for pieces in (parts, letters):
        yield [
            *(msgspec.structs.replace(blank, parts=(event,)) for event in pieces),
            msgspec.structs.replace(last, parts=()),
        ]
    groups: list[list[Any]] = [[]]
    for event in letters:
        if random.random() < 0.3:
            groups.append([])
        groups[-1].append(event)
    yield [
        *(msgspec.structs.replace(blank, parts=tuple(group)) for group in groups[:-1]),
        msgspec.structs.replace(last, parts=tuple(groups[-1])),
    ]
