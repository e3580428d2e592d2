"""From a dialogue to the text and the tokens that the model sees, by the chat template that ships with it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from dialogues import Dialogue
from jinja2 import Template
from numpy.typing import NDArray
from tokenizers import Tokenizer

from espalier.engine.template_environment import make_environment

BUNDLED = Path(__file__).resolve().parents[2] / "engine" / "bundled"


@cache
def _template() -> Template:
    return make_environment().from_string((BUNDLED / "chat_template.jinja").read_text())


def render(dialogue: Dialogue, *, add_generation_prompt: bool = False) -> str:
    """The dialogue as text."""
    return _template().render(
        messages=dialogue.messages, tools=dialogue.tools or None, add_generation_prompt=add_generation_prompt
    )


def answer_mask(token_ids: NDArray[np.uint16], tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """True for the tokens that the model has to write: what follows `<|im_start|>assistant\\n`, its end included."""
    start, end = tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>")
    head = np.array(tokenizer.encode("<|im_start|>assistant\n").ids)
    mask = np.zeros(len(token_ids), dtype=np.bool_)
    for at in np.flatnonzero(token_ids == start):
        if np.array_equal(token_ids[at : at + len(head)], head):
            ends = np.flatnonzero(token_ids[at:] == end)
            mask[at + len(head) : at + (ends[0] + 1 if len(ends) else len(token_ids))] = True
    return mask
