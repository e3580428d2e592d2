"""What stands before a tool's result, known before the tool has run."""

from __future__ import annotations

from typing import Any

import pytest

from espalier.engine.chat_template import ChatTemplate
from espalier.engine.messages import Ahead
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.result_opening import ResultOpening, result_opening
from tests.engine.conftest import byte_level_spec
from tests.gateway.said import says
from tests.gateway.test_chat_tools import CALL, OTHER, TOOLS

ASKED = [{"role": "user", "content": "What is the weather in Oslo?"}]


def test_the_opening_is_what_the_template_writes(folder: Any, tokenizer: Tokenizer) -> None:
    template = ChatTemplate.load(folder, tokenizer)
    assert template is not None
    opening = result_opening(template, frozenset(tokenizer.end_token_ids))
    assert opening is not None and opening.end_token in tokenizer.end_token_ids
    written = tokenizer.decode(list(opening.token_ids), skip_special=False)
    assert written == "\n<|im_start|>tool\n<tool_response>\n"


def test_a_template_that_knows_no_tools_has_none() -> None:
    tokenizer = Tokenizer(byte_level_spec(), end_token_ids=(256,))
    for source in ("{{ messages[0].content }}", "{{ raise_exception('no') }}", "{{ messages[2].content }}<|end|>"):
        assert result_opening(ChatTemplate(source, tokenizer), frozenset({256})) is None


def test_an_answer_that_ended_in_another_way_is_not_what_the_next_prompt_repeats() -> None:
    opening, ends = ResultOpening(2, (7, 8)), frozenset({2, 3})
    assert opening.behind([5, 2], ends) == [5, 2, 7, 8]
    assert opening.behind([5], ends) == [5, 2, 7, 8]
    assert opening.behind([5, 3], ends) is None


@pytest.mark.anyio
@pytest.mark.parametrize("parallel", [True, False])
async def test_what_is_computed_ahead_is_how_the_next_prompt_begins(
    make_api: Any, tokenizer: Tokenizer, parallel: bool
) -> None:
    api = make_api(says(tokenizer, CALL, "It rains."))
    asked: dict[str, Any] = {"tools": TOOLS, "parallel_tool_calls": parallel}
    message = (await api.post("/v1/chat/completions", messages=ASKED, **asked)).json()["choices"][0]["message"]
    (ahead,) = api.engine.ahead
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "rain"}
    await api.post("/v1/chat/completions", messages=[*ASKED, message, result], **asked)
    prompt = api.engine.requests[1].token_ids
    assert prompt[: len(ahead.token_ids)] == ahead.token_ids
    assert tokenizer.decode(prompt[len(ahead.token_ids) :], skip_special=False).startswith("rain")
    assert ahead == Ahead(ahead.token_ids) and len(api.engine.ahead) == 1  # a text is no call


@pytest.mark.anyio
async def test_nothing_is_computed_ahead_of_what_nobody_knows(make_api: Any, tokenizer: Tokenizer) -> None:
    several = make_api(says(tokenizer, CALL))
    await several.chat(tools=TOOLS, n=2)
    cut = make_api(says(tokenizer, CALL, budget=12))
    await cut.chat(tools=TOOLS)
    switched_off = make_api(says(tokenizer, OTHER), prefill_results=False)
    await switched_off.chat(tools=TOOLS)
    assert not (several.engine.ahead or cut.engine.ahead or switched_off.engine.ahead)
