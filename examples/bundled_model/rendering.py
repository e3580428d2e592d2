"""From a dialogue to the text and the tokens that the model sees.

`render` writes what the chat template that ships with the model writes (a test holds it to that), many times as fast,
and with nothing but the standard library.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from dialogue import Dialogue, Message
from numpy.typing import NDArray
from tokenizers import Tokenizer

BUNDLED = Path(__file__).resolve().parents[2] / "engine" / "bundled"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content or [])


def _system(messages: list[Message], tools: list[Message]) -> str:
    first = messages[0] if messages and messages[0]["role"] in ("system", "developer") else None
    if not first and not tools:
        return ""
    said = _text(first["content"]) if first else ""
    if tools:
        listed = "".join(f"{_json(tool.get('function', tool))}\n" for tool in tools)
        said += f"{chr(10) if first else ''}Tools:\n<tools>\n{listed}</tools>"
    return f"<|im_start|>system\n{said}<|im_end|>\n"


def _call(call: Message) -> str:
    function = call.get("function", call)
    arguments = function.get("arguments")
    written = arguments or "{}" if isinstance(arguments, str) else _json(arguments or {})
    return f'<tool_call>\n{{"name": {_json(function["name"])}, "arguments": {written}}}\n</tool_call>'


def _message(message: Message) -> str:
    said = _text(message["content"])
    match message["role"]:
        case "tool":
            said = f"<tool_response>\n{said}\n</tool_response>"
        case "assistant":
            calls = [_call(call) for call in message.get("tool_calls") or []]
            thought = message.get("reasoning_content")
            said = "\n".join([said, *calls] if said else calls)
            said = f"<think>\n{thought}\n</think>\n\n{said}" if thought else said
    return f"<|im_start|>{message['role']}\n{said}<|im_end|>\n"


def render(dialogue: Dialogue, *, add_generation_prompt: bool = False) -> str:
    """The dialogue as text."""
    return render_messages(dialogue.messages, dialogue.tools, add_generation_prompt=add_generation_prompt)


def render_messages(messages: list[Message], tools: list[Message], *, add_generation_prompt: bool = False) -> str:
    """Messages as text."""
    rest = messages[1:] if messages and messages[0]["role"] in ("system", "developer") else messages
    text = _system(messages, tools) + "".join(map(_message, rest))
    return f"{text}<|im_start|>assistant\n" if add_generation_prompt else text


def answer_mask(token_ids: NDArray[Any], tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """True for the tokens that the model has to write: what follows `<|im_start|>assistant\\n`, its end included."""
    start, end = tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>")
    head = tokenizer.encode("<|im_start|>assistant\n").ids
    return written_mask(token_ids, start, end, head)


def written_mask(token_ids: NDArray[Any], start: int, end: int, head: list[int]) -> NDArray[np.bool_]:
    """As `answer_mask`, with the ids looked up before."""
    mask = np.zeros(len(token_ids), dtype=np.bool_)
    starts, ends = np.flatnonzero(token_ids == start), np.flatnonzero(token_ids == end)
    for at in starts:
        if token_ids[at : at + len(head)].tolist() == head:
            after = np.searchsorted(ends, at)
            mask[at + len(head) : ends[after] + 1 if after < len(ends) else len(token_ids)] = True
    return mask
