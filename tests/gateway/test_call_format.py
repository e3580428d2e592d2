"""Call formats and reasoning known by what chat templates write."""

from __future__ import annotations

from pathlib import Path

import pytest

from espalier.engine.chat_template import ChatTemplate
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.call_format import FORMATS, REASONINGS, detect, detect_reasoning, opens
from espalier.gateway.options import CallFormatName, GatewayOptions, ReasoningName
from espalier.gateway.turn_constraint import AnswerFormat
from tests.engine.conftest import byte_level_spec

QWEN = """{%- if tools %}{{- "For each function call, return a json object within <tool_call></tool_call> XML tags:\\n\
<tool_call>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call>" }}{%- endif %}"""
QWEN_THINKING = (
    QWEN + """{%- if '</think>' in content %}{%- set content = content.split('</think>')[-1] %}{%- endif %}"""
)
LLAMA = """{{- 'Respond in the format {"name": function name, "parameters": dictionary of argument names}.'}}
{{- '{"name": "' + tool_call.name + '", ' }}{{- '"parameters": ' }}"""
PYTHONIC = """{{- 'Respond in the format [func_name1(params_name1=params_value1, params_name2=params_value2...)]' }}"""
MISTRAL_V3 = """{{- "[TOOL_CALLS] [" }}{{- '{"name": ' + name + ', "arguments": ' }}"""
NEMO = """{{- "[TOOL_CALLS][" }}{{- '{"name": ' + name + ', "arguments": ' }}"""
SMALL = """{{- "[TOOL_CALLS]" + tool.name + "[ARGS]" + arguments }}"""
OTHERS = {
    "qwen3-coder": "<tool_call>\n<function=example>\n<parameter=x>arguments",
    "glm": "<tool_call>{name}<arg_key>a</arg_key> arguments",
    "chatml": "{% for message in messages %}{{ message.content }}{% endfor %}",
    "mistral with ids": "[TOOL_CALLS]name[CALL_ID]id[ARGS]{}",
}


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (QWEN, "hermes"),
        (QWEN_THINKING, "hermes"),
        (LLAMA, "llama3"),
        (PYTHONIC, "pythonic"),
        (MISTRAL_V3, "mistral-v3"),
        (NEMO, "mistral"),
        (SMALL, "mistral-args"),
    ],
)
def test_a_format_is_known_by_its_template(template: str, name: str) -> None:
    found = detect(template)
    assert found is FORMATS[name]


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_in_the_table_is_not_taken_for_something_else(name: str) -> None:
    assert detect(OTHERS[name]) is None


def test_reasoning_is_known_by_what_a_template_takes_out_or_opens() -> None:
    assert detect_reasoning(QWEN_THINKING, "<|im_start|>assistant\n") is REASONINGS["think"]
    assert detect_reasoning(QWEN, "<|im_start|>assistant\n<think>\n") is REASONINGS["think"]
    assert detect_reasoning(QWEN, "<|im_start|>assistant\n<think>\n\n</think>\n\n") is None
    assert detect_reasoning(QWEN, "<|im_start|>assistant\n") is None
    assert opens(REASONINGS["think"], "assistant\n<think>\n") and not opens(REASONINGS["think"], "assistant\n")


def test_options_name_every_format() -> None:
    assert {"auto", "none", *FORMATS} == set(CallFormatName.__args__)  # type: ignore[attr-defined]
    assert {"auto", "none", *REASONINGS} == set(ReasoningName.__args__)  # type: ignore[attr-defined]


def test_the_bundled_model_writes_as_hermes_and_does_not_reason(folder: Path, tokenizer: Tokenizer) -> None:
    form = AnswerFormat.of(tokenizer, ChatTemplate.load(folder, tokenizer), GatewayOptions())
    assert form.calls is FORMATS["hermes"] and form.reasoning is None
    assert form.special["<tool_call>"] == tokenizer.added_tokens["<tool_call>"]


def test_options_go_before_signs(folder: Path, tokenizer: Tokenizer) -> None:
    template = ChatTemplate.load(folder, tokenizer)
    form = AnswerFormat.of(tokenizer, template, GatewayOptions(call_format="pythonic", reasoning="think"))
    assert form.calls is FORMATS["pythonic"] and form.reasoning is REASONINGS["think"]
    assert AnswerFormat.of(tokenizer, template, GatewayOptions(call_format="none")).calls is None


def test_a_template_that_opens_the_reasoning_is_asked(tmp_path: Path) -> None:
    tokenizer = Tokenizer(byte_level_spec(markers=("<|end|>", "<think>", "</think>")))
    source = "{{ messages[0].content }}{% if add_generation_prompt %}[assistant]<think>\n{% endif %}"
    form = AnswerFormat.of(tokenizer, ChatTemplate(source, tokenizer), GatewayOptions())
    assert form.reasoning is REASONINGS["think"] and form.is_reasoning_open
