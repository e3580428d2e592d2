"""How models write calls: one table, and the signs in a chat template by which a model's format is known.

An answer with calls is `list_begin` call (`separator` call)* `list_end`; a call is `call_begin` NAME `between`
ARGUMENTS `call_end`. Markers that are special tokens of a checkpoint's tokenizer are those tokens, else text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class CallFormat:
    """One format. Text may come before calls that begin with `marker`, and can't hold it.

    Without a marker calls are the whole answer, or there are none, and `not_text` is a pattern for what a text can't
    begin with. `lead` may come before the first call. `call_id_len` is the length of a call's id where templates
    insist on one (letters and digits then). `signs` are patterns that a template with this format matches.
    """

    name: str
    call_begin: str
    between: str
    call_end: str
    separator: str
    list_begin: str = ""
    list_end: str = ""
    lead: str | None = None
    marker: str | None = None
    not_text: str = ""
    arguments: Literal["json", "keywords"] = "json"
    call_id_len: int | None = None
    signs: tuple[str, ...] = ()


HERMES = CallFormat(
    name="hermes",
    call_begin='<tool_call>\n{"name": "',
    between='", "arguments": ',
    call_end="}\n</tool_call>",
    separator="\n",
    marker="<tool_call>",
    signs=(r"<tool_call>", r"arguments"),
)
LLAMA = CallFormat(
    name="llama3",
    call_begin='{"name": "',
    between='", "parameters": ',
    call_end="}",
    separator="; ",
    lead="<|python_tag|>",
    not_text=r'\{\s*"name"\s*:',
    signs=(r'"name": function name, "parameters"',),
)
MISTRAL_LIST = CallFormat(
    name="mistral",
    list_begin="[TOOL_CALLS][",
    call_begin='{"name": "',
    between='", "arguments": ',
    call_end="}",
    separator=", ",
    list_end="]",
    marker="[TOOL_CALLS]",
    call_id_len=9,
    signs=(r"\[TOOL_CALLS\]",),
)
MISTRAL_SPACED_LIST = replace(
    MISTRAL_LIST, name="mistral-v3", list_begin="[TOOL_CALLS] [", signs=(r"\[TOOL_CALLS\] \[",)
)
MISTRAL = CallFormat(
    name="mistral-args",
    call_begin="[TOOL_CALLS]",
    between="[ARGS]",
    call_end="",
    separator="",
    marker="[TOOL_CALLS]",
    call_id_len=9,
    signs=(r"\[TOOL_CALLS\]", r"\[ARGS\]"),
)
PYTHONIC = CallFormat(
    name="pythonic",
    list_begin="[",
    call_begin="",
    between="(",
    call_end=")",
    separator=", ",
    list_end="]",
    not_text=r"\[[A-Za-z0-9_.\-]+\(",
    arguments="keywords",
    signs=(r"\[\w+\(\w+=",),
)

FORMATS = {form.name: form for form in (MISTRAL, MISTRAL_SPACED_LIST, MISTRAL_LIST, PYTHONIC, LLAMA, HERMES)}
"""The more special first: that is the order in which signs are looked for."""

# Formats that are somebody else's, whose templates hold some of the signs above.
_FOREIGN = re.compile(
    r"<function=|<arg_key>|<\|tool_calls_section_begin\|>|<｜tool▁calls▁begin｜>|<tool_calls>\[|\[CALL_ID\]"
)


def detect(template: str) -> CallFormat | None:
    """The format of a chat template's calls, None where none of the table's is recognised."""
    if _FOREIGN.search(template):
        return None
    return next((form for form in FORMATS.values() if all(re.search(sign, template) for sign in form.signs)), None)


@dataclass(frozen=True, slots=True)
class ReasoningFormat:
    """The markers around what a model thinks before it answers."""

    name: str
    begin: str
    end: str


REASONINGS = {
    form.name: form
    for form in (
        ReasoningFormat("think", "<think>", "</think>"),
        ReasoningFormat("mistral-think", "[THINK]", "[/THINK]"),
    )
}


def detect_reasoning(template: str, opening: str) -> ReasoningFormat | None:
    """The reasoning of a model: its template takes it out of earlier answers, or opens it for the next (`opening` is
    what the template writes before an answer).
    """
    for form in REASONINGS.values():
        end = re.escape(form.end)
        if opens(form, opening) or re.search(rf"""split\(\s*["']{end}|["']{end}["']\s+in\s""", template):
            return form
    return None


def opens(form: ReasoningFormat, opening: str) -> bool:
    """Whether an answer begins inside of reasoning."""
    return opening.rstrip().endswith(form.begin)
