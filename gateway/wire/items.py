"""Items of the Responses and Conversations APIs: what a conversation is made of, as input, output and in storage.

Clients may leave out `type`, `id` and `status`; a null counts as absent. What is in no table here is refused by path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from espalier.gateway.errors import invalid
from espalier.gateway.wire.answers import ContentLogprob
from espalier.gateway.wire.body import convert

ItemStatus = Literal["in_progress", "completed", "incomplete"]
ItemRole = Literal["user", "assistant", "system", "developer"]


class InputText(Struct, frozen=True, tag_field="type", tag="input_text", forbid_unknown_fields=True):
    """Text that was given."""

    text: str


class OutputText(Struct, frozen=True, tag_field="type", tag="output_text", forbid_unknown_fields=True):
    """Text that was generated."""

    text: str
    annotations: list[Any] = []
    logprobs: list[ContentLogprob] = []


class Refusal(Struct, frozen=True, tag_field="type", tag="refusal", forbid_unknown_fields=True):
    """A refusal that a client replays; this server writes none."""

    refusal: str


class ReasoningText(Struct, frozen=True, tag_field="type", tag="reasoning_text", forbid_unknown_fields=True):
    """What the model thought."""

    text: str


class SummaryText(Struct, frozen=True, tag_field="type", tag="summary_text", forbid_unknown_fields=True):
    """A summary of what another server's model thought."""

    text: str


class MessageItem(Struct, frozen=True, tag_field="type", tag="message", forbid_unknown_fields=True):
    """A message of either side."""

    id: str
    role: ItemRole
    content: list[InputText | OutputText | Refusal]
    status: ItemStatus = "completed"


class CallItem(Struct, frozen=True, tag_field="type", tag="function_call", forbid_unknown_fields=True):
    """A call of a tool; `arguments` is a JSON text. `call_id` is what its output names, and not the item's own id."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus = "completed"


class CallOutputItem(Struct, frozen=True, tag_field="type", tag="function_call_output", forbid_unknown_fields=True):
    """What a tool gave back."""

    id: str
    call_id: str
    output: str | list[InputText]
    status: ItemStatus = "completed"


class ReasoningItem(Struct, frozen=True, tag_field="type", tag="reasoning", forbid_unknown_fields=True):
    """What the model thought before it answered. `encrypted_content` is another server's; it is kept, never read."""

    id: str
    summary: list[SummaryText] = []
    content: list[ReasoningText] = []
    encrypted_content: str | None = None
    status: ItemStatus = "completed"


class ItemReference(Struct, frozen=True, tag_field="type", tag="item_reference", forbid_unknown_fields=True):
    """Stands for an item that is stored; never stored itself."""

    id: str


Item: TypeAlias = MessageItem | CallItem | CallOutputItem | ReasoningItem
GivenItem: TypeAlias = Item | ItemReference

KINDS: dict[str, type[GivenItem]] = {
    "message": MessageItem,
    "function_call": CallItem,
    "function_call_output": CallOutputItem,
    "reasoning": ReasoningItem,
    "item_reference": ItemReference,
}
PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
# Replayed by clients of this and other servers; no answer depends on them.
IGNORED = frozenset(
    "annotations cache_control caller citations created_by metadata object parsed parsed_arguments phase "
    "prompt_cache_breakpoint provider_data provider_specific_fields refusal user store model".split()
)
IGNORED_IN_PARTS = frozenset(
    "annotations cache_control citations logprobs parsed prompt_cache_breakpoint provider_data obfuscation".split()
)
# A type that an item was sent without, by the first of these fields that it has.
_TELLING = (
    ("role", "message"),
    ("output", "function_call_output"),
    ("arguments", "function_call"),
    ("summary", "reasoning"),
    ("id", "item_reference"),
)
MAX_ITEM_ID = 256


def read_items(given: str | list[Any], new_id: Callable[[str], str], field: str = "input") -> list[GivenItem]:
    """Items as a client sent them; a text is a user's message. `new_id` makes an id from a prefix. Raises ApiError."""
    if isinstance(given, str):
        return [MessageItem(new_id("msg"), "user", [InputText(given)])]
    return [_read(item, new_id, f"{field}[{at}]") for at, item in enumerate(given)]


def text_of(content: str | list[InputText] | list[InputText | OutputText | Refusal]) -> str:
    """The text of a message's or an output's parts."""
    if isinstance(content, str):
        return content
    return "".join(part.refusal if isinstance(part, Refusal) else part.text for part in content)


def _read(item: Any, new_id: Callable[[str], str], where: str) -> GivenItem:
    if not isinstance(item, dict):
        raise invalid(f"{where} is a JSON {type(item).__name__}, an object is needed", where)
    fields = {name: value for name, value in item.items() if value is not None and name not in IGNORED}
    kind = fields.get("type") or next((kind for name, kind in _TELLING if name in fields), None)
    if not isinstance(kind, str) or kind not in KINDS:
        told = f"of type {str(kind)[:64]!r}" if kind else "without a type"
        raise invalid(f"{where} is {told}; this server reads {', '.join(KINDS)}", f"{where}.type")
    fields["type"] = kind
    if kind in PREFIXES:
        fields["id"] = _id(fields.get("id"), where) or new_id(PREFIXES[kind])
    if kind == "message":
        fields["content"] = _parts(fields.get("content"), fields.get("role"), f"{where}.content")
    elif kind == "function_call_output" and isinstance(fields.get("output"), list):
        fields["output"] = _parts(fields["output"], "user", f"{where}.output")
    elif kind == "reasoning":
        fields["content"] = _cleaned(fields.get("content") or [], f"{where}.content")
    return convert(fields, KINDS[kind], within=where)


def _id(given: Any, where: str) -> str | None:
    if isinstance(given, str) and len(given) > MAX_ITEM_ID:
        raise invalid(f"{where}.id has {len(given)} characters; at most {MAX_ITEM_ID} are allowed", f"{where}.id")
    return given or None


def _parts(content: Any, role: Any, where: str) -> list[dict[str, Any]]:
    """Content parts as this server stores them: text that was given, text that was generated, refusals."""
    own = "output_text" if role == "assistant" else "input_text"
    if content is None or isinstance(content, str):
        return [{"type": own, "text": content or ""}]
    read: list[dict[str, Any]] = []
    for at, part in enumerate(_cleaned(content, where)):
        kind = part.get("type", "text")
        if kind == "refusal":
            read.append({**part, "type": kind})
        elif kind in ("text", "input_text", "output_text"):
            read.append({**part, "type": own})
        else:
            place = f"{where}[{at}]"
            raise invalid(f"{place} is of type {str(kind)[:64]!r}; this model reads text", place)
    return read


def _cleaned(parts: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(parts, list):
        raise invalid(f"{where} is a JSON {type(parts).__name__}, a text or an array is needed", where)
    for at, part in enumerate(parts):
        if not isinstance(part, Mapping):
            raise invalid(f"{where}[{at}] is a JSON {type(part).__name__}, an object is needed", f"{where}[{at}]")
    return [{k: v for k, v in part.items() if v is not None and k not in IGNORED_IN_PARTS} for part in parts]
