"""The second opinion on structured answers, and that it is asked for where the server was told to."""

from __future__ import annotations

from typing import Any

import pytest

from espalier.engine.messages import Output, PartBegun, PartEnded, PartText, Usage
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.answer_check import AnswerCheck
from espalier.gateway.answer_event import Finished
from espalier.gateway.answer_text import Gathered, GatheredCall
from espalier.gateway.errors import ApiError
from espalier.gateway.turn import Tool, Turn, json_answer
from tests.gateway.said import says
from tests.gateway.test_chat_tools import CALL, PERSON, TOOLS

TURN = Turn([], (Tool("f", {"type": "object", "properties": {"a": {"multipleOf": 0.1}}}),), answer=json_answer(PERSON))
END = Finished("stop", Usage())


@pytest.mark.parametrize(
    ("found", "is_right"),
    [
        (Gathered('{"name": "Ada", "age": 36}', finished=END), True),
        (Gathered('{"name": "Ada"}', finished=END), False),
        (Gathered('{"name": "A', finished=END), False),
        (Gathered('{"name": "A', finished=Finished("stop", Usage(), stop_reason="da")), True),
        (Gathered(calls=[GatheredCall(0, "x", "f", '{"a": 0.3}')], finished=END), True),
        (Gathered(calls=[GatheredCall(0, "x", "f", '{"a": 0.35}')], finished=END), False),
        (Gathered(calls=[GatheredCall(0, "x", "g", "{}")], finished=END), False),
    ],
)
def test_what_does_not_validate_is_an_error_of_the_server(found: Gathered, is_right: bool) -> None:
    check = AnswerCheck.of(TURN, lambda tool: True)
    if is_right:
        check.check(found)
    else:
        with pytest.raises(ApiError) as caught:
            check.check(found)
        assert (caught.value.status, caught.value.code) == (500, "answer_invalid")


@pytest.mark.anyio
async def test_right_answers_pass_where_they_are_checked(make_api: Any, tokenizer: Tokenizer) -> None:
    api = make_api(says(tokenizer, CALL), check_answers=True)
    for stream in (False, True):
        assert "get_weather" in (await api.chat(tools=TOOLS, stream=stream)).text


@pytest.mark.anyio
async def test_arguments_that_are_free_are_not_checked(make_api: Any, tokenizer: Tokenizer) -> None:
    api = make_api(says(tokenizer, CALL.replace("days", "nights")), check_answers=True, strict_tools=False)
    assert (await api.chat(tools=TOOLS)).status_code == 200


@pytest.mark.anyio
async def test_wrong_answers_are_told_where_they_are_checked(make_api: Any) -> None:
    def wrong(request: Any) -> Any:
        told = (PartBegun("answer"), PartText("answer", '{"name": 5}'), PartEnded("answer", 3))
        yield Output(request.request_id, parts=told, finish_reason="stop")

    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    assert (await make_api(wrong).chat(response_format=form)).status_code == 200
    error = (await make_api(wrong, check_answers=True).chat(response_format=form)).json()["error"]
    assert error["code"] == "answer_invalid"
