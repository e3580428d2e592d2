"""Token-exact history over real templates: a model's own tokens stay, whatever the template would have made of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.engine.chat_template import ChatTemplate
from espalier.engine.tokenizer import Tokenizer
from espalier.sessions import JsonObject, Turn
from espalier.sessions.lifecycle import forgotten
from espalier.sessions.path import context
from espalier.sessions.splice import Splice, splice
from tests.engine.conftest import byte_level_spec
from tests.engine.test_chat_template import CHATML, LLAMA3, MARKERS, NAMED, REASONING, TAGGED
from tests.sessions.conftest import assistant, user

DATED = "{{- '<|im_start|>system\\nToday is ' + strftime_now('%d %B %Y') + '<|im_end|>\\n' }}" + CHATML
ENDS = {CHATML: "<|im_end|>", REASONING: "<|im_end|>", DATED: "<|im_end|>", LLAMA3: "<|eot_id|>", TAGGED: "</s>"}


class Model:
    """A conversation with a template and a model that says what a test tells it to, in tokens of the test's choice."""

    def __init__(self, source: str, *, keep: bool = False) -> None:
        self.tokenizer = Tokenizer(byte_level_spec((" user", "assistant", "\n\n", "<b>"), MARKERS), named_tokens=NAMED)
        self.today = datetime(2026, 3, 1)  # noqa: DTZ001
        self.template = ChatTemplate(source, self.tokenizer, now=lambda: self.today)
        self.turns: list[Turn] = []
        self.keep = keep
        self.end = ENDS[source]
        self.end_id = self.tokenizer.added_tokens[self.end]

    def messages(self) -> list[Any]:
        told: list[JsonObject] = []
        for turn in self.turns:
            told += [*turn.messages, *([turn.answer] if turn.answer else [])]
        return told

    def written(self, *new: JsonObject) -> str:
        return self.template.written([*self.messages(), *new])

    def splice(self, *new: JsonObject) -> Splice:
        ends = {
            alias: self.tokenizer.added_tokens[name]
            for name, alias in self.tokenizer.markers.aliases.items()
            if name == self.end
        }
        return splice(self.turns, self.written(*new), self.tokenizer.encode_aliased, ends, keep=self.keep)

    def ask(self, *new: JsonObject, said: str = "", answer: JsonObject | None = None, cut: bool = False) -> Splice:
        """A turn: the model's text is `said`, byte by byte, with the end marker unless it is cut."""
        spliced = self.splice(*new)
        output = tuple(token for byte in said.encode() for token in self.tokenizer.encode(chr(byte))) if said else ()
        output += () if cut else (self.end_id,)
        turn = Turn(
            f"turn_{len(self.turns)}",
            "sess",
            "a",
            None,
            "complete",
            0.0,
            new,
            spliced.kept_len + len(spliced.new_ids) + len(output),
            spliced.kept_len,
            spliced.new_ids,
            output,
            spliced.mark,
            answer or assistant(said),
        )
        self.turns.append(turn)
        return spliced

    def text(self) -> str:
        return self.tokenizer.decode(context(self.turns), skip_special=False)


@pytest.mark.parametrize("source", [CHATML, LLAMA3, TAGGED], ids=["chatml", "llama3", "tagged"])
def test_what_was_generated_stays_and_the_text_is_the_templates(source: str) -> None:
    model = Model(source)
    outputs = []
    for number in range(5):
        spliced = model.ask(user(f"question {number}"), said=f"assistant user answer {number}")
        outputs.append(model.turns[-1].output_ids)
        assert spliced.lost is None
    ids = context(model.turns)
    at = 0
    for output in outputs:
        at = next(i for i in range(at, len(ids)) if tuple(ids[i : i + len(output)]) == output) + len(output)
    whole = model.template.written(model.messages(), add_generation_prompt=False)
    canonical = model.tokenizer.encode_aliased(whole)
    assert model.tokenizer.decode(canonical, skip_special=False).startswith(model.text())
    assert len(canonical) < len(ids)  # the model wrote in bytes what the tokenizer has words for


def test_only_what_follows_the_last_answer_is_encoded() -> None:
    model = Model(CHATML)
    model.ask(user("first " * 100), said="yes")
    spliced = model.splice(user("second"))
    assert spliced.kept_len == model.turns[-1].context_len
    assert model.tokenizer.decode(list(spliced.new_ids), skip_special=False) == (
        "\n<|im_start|>user\nsecond<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("source", [CHATML, LLAMA3, TAGGED], ids=["chatml", "llama3", "tagged"])
def test_an_answer_that_was_cut_gets_its_end_marker(source: str) -> None:
    model = Model(source)
    model.ask(user("go"), said="one two thr", cut=True)
    spliced = model.splice(user("on"))
    assert spliced.lost is None and spliced.new_ids[0] == model.end_id
    assert spliced.kept_len == model.turns[-1].context_len


def test_another_end_token_than_the_templates_gives_way_to_it() -> None:
    model = Model(CHATML)
    model.ask(user("go"), said="yes", cut=True)
    other = model.tokenizer.added_tokens["</s>"]
    aliases = model.tokenizer.markers.aliases
    turn = replace(
        model.turns[0], output_ids=(*model.turns[0].output_ids, other), context_len=model.turns[0].context_len + 1
    )
    ends = {aliases["<|im_end|>"]: model.end_id, aliases["</s>"]: other}
    spliced = splice([turn], model.written(user("on")), model.tokenizer.encode_aliased, ends)
    assert spliced.kept_len == turn.context_len - 1 and spliced.new_ids[0] == model.end_id and spliced.lost is None


CALL: JsonObject = {
    "role": "assistant", "content": "", "reasoning_content": "look it up",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": {"a": 1}}}],
}  # fmt: skip
RESULT: JsonObject = {"role": "user", "content": "<tool_response>7</tool_response>"}
SAID_CALL = '<think>\nlook it up\n</think>\n\n<tool_call>\n{"name":"find","arguments":{"a":1}}\n</tool_call>'


def test_a_call_stays_in_the_models_own_spelling() -> None:
    model = Model(REASONING)
    model.ask(user("?"), said=SAID_CALL, answer=CALL)
    spliced = model.ask(RESULT, said="<think>\nhm\n</think>\n\nseven", answer=thought("hm", "seven"))
    assert spliced.lost is None and '{"name":"find","arguments":{"a":1}}' in model.text()


def thought(reasoning: str, text: str) -> JsonObject:
    return {**assistant(text), "reasoning_content": reasoning}


def test_where_the_template_drops_reasoning_it_wins_and_says_where() -> None:
    model = Model(REASONING)
    model.ask(user("?"), said=SAID_CALL, answer=CALL)
    model.ask(RESULT, said="<think>\nhm\n</think>\n\nseven", answer=thought("hm", "seven"))
    spliced = model.ask(user("and now?"), said="<think>\nok\n</think>\n\nfine", answer=thought("ok", "fine"))
    first = model.turns[0]
    assert spliced.lost is not None
    assert (spliced.lost.turn_id, spliced.lost.token) == (first.id, first.prompt_len)
    whole = model.template.written(model.messages(), add_generation_prompt=False)
    canonical = model.tokenizer.decode(model.tokenizer.encode_aliased(whole), skip_special=False)
    assert canonical.startswith(model.text().removesuffix("<|im_end|>")) and "look it up" not in model.text()
    # What was lost stays lost, and is said again.
    again = model.splice(user("and then?"))
    assert again.lost is not None and again.lost.turn_id == first.id


def test_on_request_the_tokens_stay_where_the_template_would_drop_them() -> None:
    model = Model(REASONING, keep=True)
    model.ask(user("?"), said=SAID_CALL, answer=CALL)
    model.ask(RESULT, said="<think>\nhm\n</think>\n\nseven", answer=thought("hm", "seven"))
    spliced = model.ask(user("and now?"), said="fine", answer=assistant("fine"))
    assert spliced.lost is None and spliced.kept_len == model.turns[1].context_len
    assert model.text().count("<|im_start|>user\nand now?<|im_end|>") == 1 and "look it up" in model.text()


def test_a_template_that_drops_all_reasoning_wins_at_the_next_turn() -> None:
    model = Model(CHATML)
    model.ask(user("?"), said="<think>\nhm\n</think>\n\nseven", answer=thought("hm", "seven"))
    spliced = model.splice(user("and now?"))
    assert spliced.lost is not None and spliced.lost.reason == "reasoning"
    assert spliced.kept_len == model.turns[0].prompt_len


def test_a_date_that_changes_rewrites_the_history_or_is_kept() -> None:
    for keep in (False, True):
        model = Model(DATED, keep=keep)
        model.ask(user("?"), said="one")
        assert model.ask(user("?"), said="two").lost is None
        model.today = datetime(2026, 3, 2)  # noqa: DTZ001
        spliced = model.ask(user("?"), said="three")
        assert (spliced.kept_len == 0) == (not keep) and (spliced.lost is None) == keep
        assert ("02 March" in model.text()) == (not keep) and ("01 March" in model.text()) == keep


def test_a_day_that_comes_back_does_not_bring_back_what_was_written_over() -> None:
    model = Model(DATED)
    model.ask(user("?"), said="one")
    model.today = datetime(2026, 3, 2)  # noqa: DTZ001
    model.ask(user("?"), said="two")
    model.today = datetime(2026, 3, 1)  # noqa: DTZ001
    spliced = model.splice(user("?"))
    assert spliced.kept_len == 0


def test_turns_without_tokens_are_written_from_text() -> None:
    model = Model(CHATML)
    model.ask(user("one"), said="uno")
    added = Turn("turn_x", "sess", "a", None, "complete", 0.0, (user("by the way"),), model.turns[0].context_len,
                 model.turns[0].context_len)  # fmt: skip
    model.turns.append(added)
    spliced = model.splice(user("two"))
    assert spliced.lost is None and spliced.kept_len == model.turns[0].context_len
    assert "by the way" in model.tokenizer.decode(list(spliced.new_ids))
    model.turns = [forgotten(turn) for turn in model.turns]
    spliced = model.splice(user("two"))
    assert spliced.kept_len == 0 and spliced.lost is not None and spliced.lost.reason == "edited"


def test_after_an_edit_nothing_is_kept_even_where_tokens_are_to_be() -> None:
    for keep in (False, True):
        model = Model(CHATML, keep=keep)
        model.ask(user("one"), said="uno")
        model.ask(user("two"), said="dos")
        model.turns[1] = forgotten(model.turns[1])
        spliced = model.splice(user("three"))
        text = model.tokenizer.decode(list(spliced.new_ids), skip_special=False)
        assert spliced.kept_len == 0 and all(word in text for word in ("one", "uno", "two", "dos", "three"))
        assert spliced.lost is not None


@given(
    st.lists(
        st.tuples(st.text("ab <|im_end|>\n\\é", max_size=12), st.text("ab <>|_\n", max_size=12), st.booleans()),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None, max_examples=60)
def test_any_conversation_reads_as_the_template_writes_it(turns: list[tuple[str, str, bool]]) -> None:
    model = Model(LLAMA3)
    for asked, said, cut in turns:
        # This template trims what it writes, and a model would have said so.
        model.ask(user(asked), said=said.strip(), cut=cut)
    whole = model.template.written([*model.messages(), user("end")])
    spliced = model.splice(user("end"))
    ids = context(model.turns)[: spliced.kept_len] + list(spliced.new_ids)
    assert spliced.lost is None
    assert model.tokenizer.decode(ids, skip_special=False) == model.tokenizer.decode(
        model.tokenizer.encode_aliased(whole), skip_special=False
    )


@pytest.mark.parametrize("keep", [False, True])
def test_tokens_of_another_vocabulary_never_stay(keep: bool) -> None:
    model = Model(CHATML, keep=keep)
    model.ask(user("one"), said="first")
    for vocabulary in (b"other", b""):
        ends = {alias: model.end_id for name, alias in model.tokenizer.markers.aliases.items() if name == model.end}
        written, encode = model.written(user("two")), model.tokenizer.encode_aliased
        spliced = splice(model.turns, written, encode, ends, keep=keep, vocabulary=vocabulary)
        assert (spliced.kept_len == 0) == bool(vocabulary) == (spliced.lost is not None)
        if vocabulary:
            assert list(spliced.new_ids) == encode(written) and spliced.mark.vocabulary == vocabulary
