"""The model in a program, with the bundled model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from espalier.engine import LLM, SamplingParams
from espalier.engine.errors import CheckpointError, ContextOverflowError, RequestError
from espalier.engine.messages import PartText
from espalier.grammar import Choice, Json, Literal, Sequence

GREEDY = SamplingParams(temperature=0, max_tokens=16)
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    llm = LLM(kv_memory_bytes=8 * 2**20, threads=1)
    yield llm
    llm.engine.scheduler.check()
    assert not llm.engine.has_work()


def test_several_prompts_are_answered_in_order(llm: LLM) -> None:
    alone = [llm.generate(text, GREEDY)[0].token_ids for text in ("Hello", "The", "A")]
    together = llm.generate(["Hello", "The", "A"], GREEDY)
    assert [answer.token_ids for answer in together] == alone


def test_a_prompt_may_be_token_ids(llm: LLM) -> None:
    ids = llm.tokenizer.encode("Hello")
    assert llm.generate(ids, GREEDY)[0].token_ids == llm.generate("Hello", GREEDY)[0].token_ids
    assert len(llm.generate([ids, ids], GREEDY)) == 2


def test_a_chat_is_answered_and_streamed_alike(llm: LLM) -> None:
    answer = llm.chat(HELLO, GREEDY)
    assert answer.text
    assert "".join(llm.stream(HELLO, GREEDY)) == answer.text
    assert answer.usage.completion_tokens == len(answer.token_ids)


def test_a_stream_that_is_left_ends_its_request(llm: LLM) -> None:
    stream = llm.stream(HELLO, SamplingParams(temperature=0, max_tokens=500, ignore_eos=True))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    llm.generate("The", GREEDY)
    assert not llm.engine.has_work()


def test_logprobs_come_when_asked_for(llm: LLM) -> None:
    answer = llm.chat(HELLO, SamplingParams(temperature=0, max_tokens=4, logprobs=2))
    assert answer.logprobs is not None
    assert [entry.token_id for entry in answer.logprobs] == answer.token_ids
    assert llm.chat(HELLO, GREEDY).logprobs is None


def test_one_refused_prompt_leaves_nothing_running(llm: LLM) -> None:
    with pytest.raises(ContextOverflowError):
        llm.generate([[5, 6], [5] * 100_000], GREEDY)
    with pytest.raises(RequestError):
        llm.generate("Hello", SamplingParams(top_p=2))
    assert llm.generate("Hello", GREEDY)[0].token_ids


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        LLM("./nowhere")


def test_named_parts_of_a_constraint_come_apart(llm: LLM) -> None:
    tokenizer = llm.tokenizer
    constraint = Sequence(
        (Choice((b"yes", b"no"), part="verdict"), Literal(b"; "), Json({"type": "boolean"}, part="why"))
    )
    (done,) = llm.generate("x", SamplingParams(constraint=constraint, max_tokens=30))
    texts = dict.fromkeys(("verdict", "why"), "")
    for part in done.parts:
        if isinstance(part, PartText):
            texts[part.part] += part.text
    assert texts["verdict"] in ("yes", "no") and texts["why"] in ("true", "false")
    assert done.text == texts["verdict"] + texts["why"]
    assert tokenizer.decode(done.token_ids) == f"{texts['verdict']}; {texts['why']}"
