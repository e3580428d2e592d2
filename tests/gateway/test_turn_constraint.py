"""What a turn's answer may be, byte by byte; keyword arguments; texts that have broken parsers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from espalier.engine.messages import Output, PartText, SamplingParams
from espalier.engine.part_text import PartTexts
from espalier.gateway.answer_text import Gathered
from espalier.gateway.call_format import FORMATS, REASONINGS
from espalier.gateway.errors import ApiError
from espalier.gateway.turn import Tool, ToolChoice, Turn
from espalier.gateway.turn_constraint import AnswerFormat, escaped, parameters
from espalier.gateway.turn_reader import TurnReader
from espalier.grammar import Cursor, RejectedError, compile_grammar
from tests.grammar.small import BYTES

CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("weather", CITY), Tool("now"))


def start(form: AnswerFormat, **turn: Any) -> Cursor:
    constraint = form.constraint(Turn([], **{"tools": TOOLS, **turn}))
    assert constraint is not None
    return compile_grammar(constraint, BYTES).start()


def whole(form: AnswerFormat, text: bytes, size: int = 10**9, **turn: Any) -> Gathered:
    """What a text is read as, in pieces of so many bytes. Raises RejectedError, also if it may not end there."""
    cursor, parts, told = start(form, **turn), PartTexts(SamplingParams()), Gathered()
    reader = TurnReader(lambda: "call")
    for at in range(0, len(text), size):
        parts.feed(cursor.accept_bytes(text[at : at + size]), 1, by_budget=False)
        for event in reader.read(Output("r", parts=parts.take())):
            told.add(event)
    if not cursor.is_complete():
        raise RejectedError("it may not end here")
    parts.finish(cursor.unsettled(), 1, by_budget=False)
    for event in reader.read(Output("r", parts=parts.take(), finish_reason="stop")):
        told.add(event)
    return told


HERMES, PYTHONIC, LLAMA = (AnswerFormat(FORMATS[name]) for name in ("hermes", "pythonic", "llama3"))
MARKER = b"<tool_call>"


def test_text_is_free_until_the_marker_and_exact_from_there() -> None:
    call = b'<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    found = whole(HERMES, b"Well: <tool, <tool_cal " + call)
    assert found.text == "Well: <tool, <tool_cal" and found.calls[0].arguments == '{"city": "Oslo"}'
    for wrong in (b"<tool_call>{", b"<tool_call>\n{ ", b'<tool_call>\n{"name": "wether', call + b" and"):
        with pytest.raises(RejectedError):
            whole(HERMES, wrong)


@pytest.mark.parametrize(
    "text", [b"[weather(", b"[other(a=1)]", b" [weather(", b"[get-all(a=", b"[2fa(", b'{"name": "x"', b' { "name" : ']
)
def test_where_calls_have_no_marker_a_text_does_not_begin_like_one(text: bytes) -> None:
    form = PYTHONIC if b"[" in text else LLAMA
    with pytest.raises(RejectedError):
        whole(form, text)
    assert whole(form, b"So: " + text).text == "So: " + text.decode()


def test_pythonic_arguments_are_python_and_come_out_as_json() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "boolean"},
            "b": {"type": "array", "items": {"type": ["null", "integer"]}},
            "c": {"$ref": "#/$defs/c"},
        },
        "required": ["b"],
        "$defs": {"c": {"type": "object", "properties": {"x": {"const": None}}, "additionalProperties": False}},
    }
    found = whole(PYTHONIC, b'[f(b=[1, None], a=True, c={"x": None}), f(b=[])]', tools=(Tool("f", schema),))
    assert [json.loads(call.arguments) for call in found.calls] == [
        {"b": [1, None], "a": True, "c": {"x": None}},
        {"b": []},
    ]
    for wrong in (b"[f()]", b"[f(a=True)]", b"[f(b=[true])]", b"[f(b=[], d=1)]", b"[f(b=[],)]", b"[f(b=[], b=[])]"):
        with pytest.raises(RejectedError):
            whole(PYTHONIC, wrong, tools=(Tool("f", schema),))
    assert whole(PYTHONIC, b"[g(), g(x=1), g(y=2), g(x=1, y=2)]", tools=(Tool("g", two_optional()),)).calls


def two_optional() -> dict[str, Any]:
    return {"type": "object", "properties": {"x": {"const": 1}, "y": {"const": 2}}}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"anyOf": [{"required": ["a"]}], "properties": {"a": True}}, "'anyOf'"),
        ({"properties": {"a": True}, "minProperties": 1}, "'minProperties'"),
        ({"properties": {}, "required": ["a"]}, "'a' is required"),
        ({"properties": {"a-b": True}}, "'a-b'"),
        ({"properties": {"class": True}}, "'class'"),
    ],
)
def test_what_keyword_arguments_cannot_keep_is_refused_by_name(schema: Any, said: str) -> None:
    tool = Tool("f", schema, where="tools[3].function.parameters")
    with pytest.raises(ApiError, match="Python") as caught:
        PYTHONIC.arguments(tool)
    assert caught.value.param == tool.where and said in caught.value.message


@pytest.mark.parametrize("schema", [{"required": [{}]}, {"required": 5}, {"properties": []}])
def test_a_schema_that_is_none_is_refused_where_arguments_are_keywords_too(schema: Any) -> None:
    with pytest.raises(ApiError) as caught:
        PYTHONIC.arguments(Tool("f", schema, where="tools[3].function.parameters"))
    assert (caught.value.param, caught.value.code) == ("tools[3].function.parameters", "invalid_schema")


def test_a_keyword_argument_is_read_in_the_draft_of_its_schema() -> None:
    pair = {
        "type": "array",
        "items": [{"type": "integer"}, {"type": "string"}],
        "additionalItems": False,
        "minItems": 2,
    }
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"pair": pair}}
    found = whole(PYTHONIC, b'[f(pair=[1, "a"])]', tools=(Tool("f", schema),))
    assert json.loads(found.calls[0].arguments) == {"pair": [1, "a"]}
    with pytest.raises(RejectedError):
        whole(PYTHONIC, b"[f(pair=[1, 2])]", tools=(Tool("f", schema),))


@pytest.mark.parametrize("form", [HERMES, PYTHONIC], ids=["hermes", "pythonic"])
def test_an_argument_has_the_format_that_its_schema_says(form: AnswerFormat) -> None:
    schema = {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}}

    def call(day: str) -> bytes:
        if form is PYTHONIC:
            return f'[f(day="{day}")]'.encode()
        return f'<tool_call>\n{{"name": "f", "arguments": {{"day": "{day}"}}}}\n</tool_call>'.encode()

    assert json.loads(whole(form, call("2024-02-29"), tools=(Tool("f", schema),)).calls[0].arguments)
    for wrong in ("Oslo", "2023-02-29"):
        with pytest.raises(RejectedError):
            whole(form, call(wrong), tools=(Tool("f", schema),))


def test_keyword_arguments_of_tools_that_are_not_strict_have_any_value() -> None:
    form = AnswerFormat(FORMATS["pythonic"], strict_tools=False)
    tool = Tool("f", {**CITY, "anyOf": [{"required": ["city"]}]})
    assert whole(form, b"[f(city=[None, 1]), f()]", tools=(tool,)).calls[0].arguments == '{"city": [null, 1]}'
    with pytest.raises(RejectedError):
        whole(form, b"[f(city=5)]", tools=(Tool("f", CITY, strict=True),))


def test_arguments_that_a_tool_does_not_know_are_closed_out_where_its_schema_leaves_them_open() -> None:
    assert parameters(Tool("f", CITY))["additionalProperties"] is False
    assert parameters(Tool("f"))["additionalProperties"] is False
    assert "additionalProperties" not in parameters(Tool("f", {"type": "object"}))
    others: list[dict[str, Any]] = [
        {"patternProperties": {"x": True}},
        {"allOf": [{}]},
        {"minProperties": 2},
        {"required": ["city", "days"]},
    ]
    for more in others:
        assert "additionalProperties" not in parameters(Tool("f", {**CITY, **more}))
    assert parameters(Tool("f", {**CITY, "additionalProperties": True}))["additionalProperties"] is True


def test_reasoning_that_is_spelled_in_text_is_no_text() -> None:
    form = AnswerFormat(FORMATS["hermes"], REASONINGS["think"])
    found = whole(form, b"<think>\nHm</thin\n</think>\n\nYes <think>", tools=())
    assert (found.reasoning, found.text) == ("Hm</thin", "Yes <think>")
    assert whole(form, b"Yes", tools=()).text == "Yes"
    opened = AnswerFormat(FORMATS["hermes"], REASONINGS["think"], is_reasoning_open=True)
    assert whole(opened, b"Hm</think>Yes", tools=()).reasoning == "Hm"
    with pytest.raises(RejectedError):
        whole(opened, b"Hm", tools=())


WRITTEN = {
    "hermes": "<think>\nHé?\n</think>\n\nSo: <tool_\n"
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Å</tool_call>"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>',
    "mistral": 'So: [TOOL_[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Å]"}}, '
    '{"name": "now", "arguments": {}}]',
    "mistral-args": 'So: [TOOL_[TOOL_CALLS]weather[ARGS]{"city": "Å"}[TOOL_CALLS]now[ARGS]{}',
    "llama3": '{"name": "weather", "parameters": {"city": "Å"}}; {"name": "now", "parameters": {}}',
    "pythonic": '[weather(city="Å, b=1)]"), now()]',
}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 40])
@pytest.mark.parametrize("name", WRITTEN)
def test_a_turn_is_read_alike_in_pieces_of_any_number_of_bytes(name: str, size: int) -> None:
    form = AnswerFormat(FORMATS[name], REASONINGS["think"] if name == "hermes" else None)
    text = WRITTEN[name].encode()
    found = whole(form, text, size)
    assert found == whole(form, text)
    assert [call.name for call in found.calls] == ["weather", "now"] and all(call.is_complete for call in found.calls)
    assert found.text == ({"hermes": "So: <tool_"}.get(name, "So: [TOOL_") if "So" in WRITTEN[name] else "")
    assert found.reasoning == ("Hé?" if name == "hermes" else "")


# T01: what has made parsers hang, or see calls where there are none.
TRAPS = {
    "arguments without an end": "[search(" + ", ".join(f"a{at}={at}" for at in range(22)),
    "separators without an end": "<tool_cal" + "l; " * 1_000,
    "many calls that are none": "<tool_call >a</tool_call>" * 23 + "X",
    "half a marker again and again": "<tool_cal<tool_cal" * 100,
}


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("name", TRAPS)
def test_traps_are_text_in_whatever_pieces_they_come(name: str, size: int) -> None:
    text = TRAPS[name]
    found = whole(HERMES, text.encode(), size)
    assert (found.text, found.calls) == (text, [])


def test_a_long_text_takes_as_long_as_it_is() -> None:
    cursor, parts = start(HERMES), PartTexts(SamplingParams())
    text = b"<tool_cal" + b"l; " * 50_000
    for byte in text:
        cursor.closing_cost()  # as the engine asks at each token
        parts.feed(cursor.accept(byte), 1, by_budget=False)
    told = [event.text for event in parts.take() if isinstance(event, PartText)]
    assert "".join(told).encode() == text[: len("".join(told))] and len(told) > 140_000


@pytest.mark.parametrize("trap", ["<tool_call>a</tool_call>" * 23 + "X", "<tool_call>" + "; " * 1_000])
def test_what_begins_as_a_call_and_is_none_cannot_be_said(trap: str) -> None:
    with pytest.raises(RejectedError, match="not allowed"):
        whole(HERMES, trap.encode())


def test_patterns_of_texts_mean_the_texts() -> None:
    assert escaped("[TOOL_CALLS](a|b)*{1}.^$+?/\\") == r"\[TOOL_CALLS\]\(a\|b\)\*\{1\}\.\^\$\+\?\/\\"


def test_without_tools_answer_or_reasoning_nothing_is_asked_of_an_answer() -> None:
    assert HERMES.constraint(Turn([])) is None
    with pytest.raises(ApiError, match="call_format"):
        AnswerFormat().constraint(Turn([], TOOLS))
    assert AnswerFormat().constraint(Turn([], TOOLS, ToolChoice("none"))) is not None
