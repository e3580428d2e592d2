"""Why a prompt was not warm: each cause provoked, and the place compared with what a look at all prompts finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.engine.messages import Generate, Missed, Output, Stats, Usage
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.cache_report import Origin, Price, cause_of, first_message, report
from espalier.gateway.scripted_client import ScriptedClient
from tests.gateway.conftest import Api

anyio = pytest.mark.anyio


class Remembering:
    """An engine that remembers every prompt and answer of a tenant, and says where a new one leaves them all."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.known: dict[tuple[str, str], list[list[int]]] = {}
        self.cause: Any = "new"

    def missed(self, request: Generate) -> int:
        """By comparing with each of them, token by token."""
        longest = 0
        for ids in self.known.get((request.tenant, request.cache_salt), []):
            same = 0
            while same < min(len(ids), len(request.token_ids) - 1) and ids[same] == request.token_ids[same]:
                same += 1
            longest = max(longest, same)
        return longest

    def __call__(self, request: Generate) -> Iterable[Output]:
        at = self.missed(request)
        said = self.tokenizer.encode("Hello there")
        self.known.setdefault((request.tenant, request.cache_salt), []).append([*request.token_ids, *said])
        usage = Usage(len(request.token_ids), at, len(said))
        missed = Missed(at, self.cause)
        yield Output(request.request_id, "Hello there", said, finish_reason="stop", usage=usage, missed=missed)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.fixture
def engine(tokenizer: Tokenizer) -> Remembering:
    return Remembering(tokenizer)


@pytest.fixture
def api(make: Callable[..., Api], engine: Remembering) -> Api:
    return make(engine)


async def told(api: Api, *messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    answered = await api.chat(messages=list(messages), **more)
    assert answered.status_code == 200, answered.text
    extras: dict[str, Any] = answered.json()["espalier"]
    return extras


@anyio
async def test_new_text_is_new_and_its_message_is_named(api: Api, engine: Remembering) -> None:
    first = await told(api, user("one"), session_id="s")
    assert first["cache"]["missed"] == {"token": 0, "message": 0, "cause": "new"}
    second = await told(api, user("two"), session_id="s")
    assert second["cache"]["missed"]["cause"] == "new" and second["cache"]["missed"]["message"] == 2
    assert second["cache"]["device_tokens"] == second["cache"]["missed"]["token"] > 0
    stateless = await told(api, user("one"), {"role": "assistant", "content": "Hello there"}, user("three"))
    assert stateless["cache"]["missed"]["message"] == 2


@anyio
async def test_a_history_that_the_client_changed_is_told_from_new_text(api: Api) -> None:
    await told(api, user("one"), session_id="s")
    await told(api, user("two"), session_id="s")
    changed = [user("one"), {"role": "assistant", "content": "Hello Ada"}, user("two")]
    missed = (await told(api, *changed, session_id="s"))["cache"]["missed"]
    assert missed["cause"] == "client_history" and missed["message"] == 1


@anyio
async def test_what_the_template_writes_in_another_way_is_told(api: Api) -> None:
    await told(api, user("one"), session_id="s")
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}
    missed = (await told(api, user("two"), session_id="s", tools=[tool], tool_choice="none"))["cache"]["missed"]
    assert missed["cause"] == "template" and missed["message"] == 0


@anyio
@pytest.mark.parametrize("cause", ["evicted", "demoted"])
async def test_what_was_there_and_is_gone_is_told(api: Api, engine: Remembering, cause: str) -> None:
    await told(api, user("one"), session_id="s")
    engine.cause = cause
    assert (await told(api, user("two"), session_id="s"))["cache"]["missed"]["cause"] == cause


@anyio
async def test_a_stream_tells_it_at_its_end(api: Api) -> None:
    answered = await api.chat("one", stream=True)
    with_cache = [line for line in answered.text.split("\n") if '"cache"' in line]
    assert len(with_cache) == 1 and '"finish_reason":"stop"' in with_cache[0]


@anyio
async def test_seconds_and_money_are_told_where_they_are_known(make: Callable[..., Api], engine: Remembering) -> None:
    api = make(engine)
    plain = await told(api, user("one"))
    assert plain["cache"]["saved_s"] is None and "cost" not in plain
    api = make(engine, price_input=2.0, price_cached_input=0.5, price_output=10.0)
    assert isinstance(api.engine, ScriptedClient)
    api.engine.stats = Stats(prefill_tokens_per_s=100.0)
    answered = (await api.chat("one more")).json()
    extras, usage = answered["espalier"], answered["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert cached > 0 and extras["cache"]["saved_s"] == cached / 100
    cold = usage["prompt_tokens"] - cached
    assert extras["cost"] == pytest.approx((2.0 * cold + 0.5 * cached + 10.0 * usage["completion_tokens"]) / 1e6)


def test_causes_are_told_apart_by_where_the_sessions_tokens_end() -> None:
    new = Missed(10, "new")
    assert cause_of(new, Origin()) == "new"
    assert cause_of(new, Origin(10, 10)) == "new"
    assert cause_of(new, Origin(9, 10)) == "new"  # another end marker than the template's gave way
    assert cause_of(new, Origin(5, 20)) == "template"
    assert cause_of(new, Origin(5, 10)) == "new"
    assert cause_of(new, Origin(5, 5, 20)) == "client_history"
    assert cause_of(Missed(10, "evicted", 5), Origin(5, 20, 20)) == "evicted"


def test_a_prompt_that_was_all_warm_missed_nothing() -> None:
    usage = Usage(10, 10, 1, 0, 2, 3)
    told = report(usage, None, Origin(), tail="", messages=[], markers=(), tokens_per_s=0.0)
    assert (told.device_tokens, told.host_tokens, told.disk_tokens, told.missed) == (5, 2, 3, None)


def test_without_a_price_for_warm_tokens_they_cost_as_any() -> None:
    assert Price(1.0, None, 0.0).of(Usage(1_000_000, 500_000, 7)) == 1.0


@given(
    st.lists(st.text("ab \n", min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=5, unique_by=str.strip),
    st.data(),
)
def test_the_message_is_the_first_of_which_there_is_text_behind_the_place(texts: list[str], data: Any) -> None:
    messages = [{"content": f"{at}:{text.strip()}"} for at, text in enumerate(texts)]
    written, ends, places = "", [], []
    for message in messages:
        # A token begins at a marker or somewhere behind it, never within.
        places.append(len(written))
        written += "<|start|>"
        places += range(len(written), len(written) + len(f"user\n{message['content']}") + 1)
        written += f"user\n{message['content']}"
        ends.append(len(written))
        written += "<|end|>\n"
    place = data.draw(st.sampled_from([*places, len(written)]))
    expected = next((at for at, end in enumerate(ends) if end > place), None)
    assert first_message(messages, written[place:], ("<|start|>", "<|end|>")) == expected
