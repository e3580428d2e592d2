"""What of a client's messages is new: appended, resent whole, changed, cut, or tool results once more."""

from __future__ import annotations

from json import dumps
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.sessions import JsonObject, Path, Session, Turn
from espalier.sessions.align import Divergence, align
from espalier.sessions.errors import ToolResultConflictError
from tests.sessions.conftest import assistant, user

SYSTEM: JsonObject = {"role": "system", "content": "be brief"}


def call(call_id: str = "c1", arguments: Any = None, name: str = "find") -> JsonObject:
    function: JsonObject = {"name": name, "arguments": {"a": 1, "b": [2]} if arguments is None else arguments}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": call_id, "type": "function", "function": function}],
    }


def result(text: str = "7", call_id: str = "c1") -> JsonObject:
    return {"role": "tool", "content": text, "tool_call_id": call_id}


def history(*turns: tuple[list[JsonObject], JsonObject | None]) -> Path:
    """A path of turns t1, t2, ..."""
    made: list[Turn] = []
    for number, (messages, answer) in enumerate(turns, 1):
        parent = made[-1].id if made else None
        made.append(Turn(f"t{number}", "sess", "a", parent, "complete", 0.0, tuple(messages), 0, answer=answer))
    return Path(Session("sess", "a", "session", 0.0, 0.0, head=made[-1].id if made else None), tuple(made))


TALK = history(([SYSTEM, user("one")], call()), ([result()], assistant("seven")), ([user("two")], assistant("2")))


def test_the_first_messages_of_a_session_are_all_new() -> None:
    aligned = align(history(), [SYSTEM, user("one")])
    assert aligned.parent is None and aligned.new == (SYSTEM, user("one")) and aligned.diverged is None


def test_messages_without_an_answer_among_them_are_appended() -> None:
    aligned = align(TALK, [user("three"), user("four")])
    assert aligned.parent == "t3" and len(aligned.new) == 2 and aligned.diverged is None


def test_of_a_whole_history_only_the_end_is_new() -> None:
    aligned = align(TALK, [*TALK.messages(), user("three")])
    assert aligned.parent == "t3" and aligned.new == (user("three"),) and aligned.diverged is None


def test_what_clients_rewrite_without_meaning_it_is_no_divergence() -> None:
    theirs: list[Any] = [
        {"role": "developer", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}]},
        user("one"),
        call(arguments='{ "b": [2],\n "a": 1.0 }') | {"content": None, "annotations": []},
        result(),
        assistant(" seven\n") | {"reasoning_content": "hm"},
        user("two"),
        assistant("2"),
        user("three"),
    ]
    aligned = align(TALK, theirs)
    assert aligned.parent == "t3" and aligned.new == (user("three"),) and aligned.diverged is None


CHANGES: dict[str, tuple[int, JsonObject]] = {
    "system": (0, SYSTEM | {"content": "be long"}),
    "question": (1, user("uno")),
    "arguments": (2, call(arguments={"a": 1.5, "b": [2]})),
    "type of an argument": (2, call(arguments={"a": True, "b": [2]})),
    "name": (2, call(name="seek")),
    "call id": (2, call("c2")),
    "result": (3, result("8")),
    "answer": (4, assistant("eight")),
    "role": (5, assistant("two")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_message_rolls_back_to_the_last_turn_before_it(change: str) -> None:
    at, message = CHANGES[change]
    theirs = [*TALK.messages(), user("three")]
    theirs[at] = message
    aligned = align(TALK, theirs, "full")
    turn = {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 3}[at]
    assert aligned.diverged == Divergence(at, f"t{turn}")
    assert aligned.parent == (f"t{turn - 1}" if turn > 1 else None)
    assert [*TALK.up_to(aligned.parent).messages(), *aligned.new] != TALK.messages()
    assert list(aligned.new) == theirs[len(TALK.up_to(aligned.parent).messages()) :]


def test_a_history_that_ends_earlier_rolls_back() -> None:
    aligned = align(TALK, TALK.messages()[:-1])
    assert aligned.parent == "t2" and aligned.new == (user("two"),) and aligned.diverged == Divergence(6, "t3")


def test_one_can_say_what_one_sends() -> None:
    assert align(TALK, [SYSTEM, user("one")], "append").parent == "t3"
    assert align(TALK, [SYSTEM, user("one")]).parent is None
    assert align(TALK, [user("one")], "full").diverged == Divergence(0, "t1")
    answered = align(TALK, [assistant("as I said"), user("three")], "append")
    assert answered.parent == "t3" and len(answered.new) == 2


def test_results_sent_again_replay_the_turn_that_they_opened() -> None:
    for theirs in ([result()], TALK.messages()[:4]):
        replayed = align(TALK, theirs).replayed
        assert replayed is not None and replayed.id == "t2"


def test_another_result_for_a_call_is_refused() -> None:
    for theirs in ([result("8")], [*TALK.messages()[:3], result("8")]):
        with pytest.raises(ToolResultConflictError) as refused:
            align(TALK, theirs)
        assert (refused.value.call_id, refused.value.turn_id) == ("c1", "t2")


def test_results_that_are_new_go_on_without_those_that_are_not() -> None:
    pending = history(([user("one")], call()), ([result()], call("c2")))
    aligned = align(pending, [result(), result("9", "c2")])
    assert aligned.parent == "t2" and aligned.new == (result("9", "c2"),) and aligned.replayed is None


def test_results_are_recorded_once_whatever_is_said_behind_them() -> None:
    for results in ([result()], [result(), result()]):
        aligned = align(TALK, [*results, user("three")])
        assert aligned.parent == "t3" and aligned.new == (user("three"),) and aligned.replayed is None
        again = align(TALK, results).replayed
        assert again is not None and again.id == "t2"
    with pytest.raises(ToolResultConflictError):
        align(TALK, [result("8"), user("three")])
    with pytest.raises(ToolResultConflictError):
        align(TALK, [result("8"), result()])


def test_a_result_of_a_call_that_stands_among_the_messages_is_that_ones() -> None:
    given = [call(), result("8"), user("three")]
    assert align(TALK, given, "append").new == tuple(given)


def test_after_a_rollback_a_call_may_have_another_result() -> None:
    before = TALK.up_to("t1")
    path = Path(Session("sess", "a", "session", 0.0, 0.0, head="t1"), before.turns)
    assert align(path, [result("8")]).new == (result("8"),)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=6), st.text(max_size=5))
def test_a_history_resent_as_it_is_never_diverges(turns: list[tuple[str, str]], new: str) -> None:
    path = history(*(([user(asked)], assistant(said)) for asked, said in turns))
    aligned = align(path, [*path.messages(), user(new)], "full")
    assert aligned.diverged is None and aligned.new == (user(new),) and aligned.parent == path.session.head


def test_arguments_of_any_shape_are_compared() -> None:
    deep = '{"a":' * 900 + "1" + "}" * 900
    for text in ("", "no json", "[1", deep, '{"a": 1e400}', '{"a": ' + "9" * 5000 + "}", '{"a": 1' + "0" * 40 + "}"):
        path = history(([user("x")], call(arguments=text)))
        assert align(path, [user("x"), call(arguments=text), result()]).diverged is None
        assert align(path, [user("x"), call(arguments='{"b": 1}'), result()]).diverged is not None


@given(VALUES, VALUES)
def test_arguments_are_compared_as_values(one: Any, other: Any) -> None:
    path = history(([user("x")], call(arguments=dumps({"v": one}))))
    theirs = [user("x"), call(arguments=dumps({"v": other}, indent=2, ensure_ascii=True)), result()]
    same = dumps(one, sort_keys=True) == dumps(other, sort_keys=True)
    assert (align(path, theirs).diverged is None) == same
