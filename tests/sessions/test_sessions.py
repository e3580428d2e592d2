"""Sessions as their callers see them: turns, forks, rollbacks, keys, deletion, tenants."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from espalier.sessions import Completion, Draft, JsonObject, Record, Turn
from espalier.sessions.errors import (
    BusyError,
    IdempotencyConflictError,
    InvalidArchiveError,
    NotFoundError,
    TurnEndedError,
    TurnMismatchError,
)
from tests.sessions.conftest import World, assistant, key, user

pytestmark = pytest.mark.anyio


async def test_a_turn_is_running_then_complete_and_then_history(world: World) -> None:
    session = await world.sessions.create("a")
    turn = await world.begin(session.id, "hi")
    assert turn.state == "running"
    assert (await world.sessions.get("a", session.id)).running == turn.id
    assert await world.texts(session.id) == []
    await world.sessions.complete("a", turn.id, Completion(assistant("hello"), (7,), "stop"))
    assert await world.texts(session.id) == ["hi", "hello"]
    assert (await world.sessions.path("a", session.id)).token_ids() == [1, 2, 7]


async def test_a_second_turn_is_refused_by_the_id_of_the_first(world: World) -> None:
    session = await world.sessions.create("a")
    turn = await world.begin(session.id)
    with pytest.raises(BusyError) as refused:
        await world.begin(session.id)
    assert refused.value.turn_id == turn.id


async def test_an_interrupted_turn_is_in_nobodys_history_but_in_the_list(world: World) -> None:
    session = await world.sessions.create("a")
    first = await world.say(session.id, "one")
    half = await world.begin(session.id, "two")
    await world.sessions.interrupt("a", half.id)
    assert (await world.sessions.get("a", session.id)).head == first.id
    assert await world.texts(session.id) == ["one", "re: one"]
    states = [turn.state for turn in (await world.sessions.turns("a", session.id)).items]
    assert states == ["complete", "interrupted"]
    with pytest.raises(TurnEndedError):
        await world.sessions.complete("a", half.id, Completion(None))
    assert (await world.sessions.interrupt("a", first.id)).state == "complete"


async def test_a_session_survives_its_process_and_running_turns_are_interrupted(world: World) -> None:
    session = await world.sessions.create("a", metadata={"k": ["v", 1, None]})
    done = await world.say(session.id, "one")
    half = await world.begin(session.id, "two", idempotency=key())
    await world.reopened()
    found = await world.sessions.get("a", session.id)
    assert (found.head, found.running, found.metadata) == (done.id, None, {"k": ["v", 1, None]})
    assert (await world.sessions.turn("a", half.id)).state == "interrupted"
    assert await world.sessions.turn("a", done.id) == done
    # The key is free again: the client's repeated request is answered.
    assert await world.sessions.replay("a", key()) is None


async def test_a_fork_shares_the_past_and_nothing_else(world: World) -> None:
    session = await world.sessions.create("a", metadata={"k": "v"})
    await world.say(session.id, "one")
    fork = await world.sessions.fork("a", session.id)
    await world.say(session.id, "two")
    await world.say(fork.id, "other")
    assert await world.texts(session.id) == ["one", "re: one", "two", "re: two"]
    assert await world.texts(fork.id) == ["one", "re: one", "other", "re: other"]
    assert fork.metadata == {"k": "v"}


async def test_a_fork_and_a_rollback_are_named_by_a_turn_or_a_response(world: World) -> None:
    session = await world.sessions.create("a")
    first = await world.say(session.id, "one", response_id="resp_1")
    second = await world.say(session.id, "two")
    assert (await world.sessions.fork("a", session.id, at="resp_1")).head == first.id
    assert (await world.sessions.rollback("a", session.id, to="resp_1")).head == first.id
    assert (await world.sessions.rollback("a", session.id, to=second.id)).head == second.id
    assert (await world.sessions.rollback("a", session.id, to=None)).head is None


async def test_a_fork_rolls_back_behind_where_it_was_forked_but_not_into_foreign_turns(world: World) -> None:
    session = await world.sessions.create("a")
    first = await world.say(session.id, "one")
    await world.say(session.id, "two")
    fork = await world.sessions.fork("a", session.id)
    later = await world.say(session.id, "three")
    assert (await world.sessions.rollback("a", fork.id, to=first.id)).head == first.id
    with pytest.raises(NotFoundError):
        await world.sessions.rollback("a", fork.id, to=later.id)
    stranger = await world.say((await world.sessions.create("a")).id)
    with pytest.raises(NotFoundError):
        await world.sessions.fork("a", fork.id, at=stranger.id)


async def test_a_running_or_interrupted_turn_is_nowhere_to_go_back_to(world: World) -> None:
    session = await world.sessions.create("a")
    half = await world.begin(session.id)
    with pytest.raises(NotFoundError):
        await world.sessions.fork("a", session.id, at=half.id)
    with pytest.raises(BusyError):
        await world.sessions.rollback("a", session.id, to=None)
    await world.sessions.interrupt("a", half.id)
    with pytest.raises(NotFoundError):
        await world.sessions.rollback("a", session.id, to=half.id)


async def test_if_match_names_the_head(world: World) -> None:
    session = await world.sessions.create("a")
    first = await world.say(session.id)
    draft = Draft(first.id, first.id, (user("x"),))
    with pytest.raises(TurnMismatchError) as refused:
        await world.sessions.begin("a", session.id, draft, if_match="turn_other")
    assert refused.value.head == first.id
    assert (await world.sessions.begin("a", session.id, draft, if_match=first.id)).turn.parent == first.id


async def test_a_turn_after_an_earlier_one_moves_the_head_or_forks(world: World) -> None:
    session = await world.sessions.create("a")
    first = await world.say(session.id, "one")
    second = await world.say(session.id, "two")
    forked = await world.sessions.begin("a", session.id, Draft(first.id, None, (user("x"),)), branch="fork")
    assert forked.session.id != session.id and forked.session.base == first.id
    moved = await world.sessions.begin("a", session.id, Draft(first.id, second.id, (user("y"),)))
    assert moved.session.id == session.id and moved.turn.parent == first.id
    beside = await world.sessions.begin("a", session.id, Draft(second.id, None, (user("z"),)), branch="fork")
    assert beside.session.id != session.id


async def test_a_turn_whose_history_was_read_before_another_one_ended_is_busy(world: World) -> None:
    session = await world.sessions.create("a")
    await world.say(session.id, "one")
    with pytest.raises(BusyError):
        await world.sessions.begin("a", session.id, Draft(None, None, (user("x"),)))


async def test_a_key_replays_its_turn_and_refuses_another_body(world: World) -> None:
    session = await world.sessions.create("a")
    turn = await world.begin(session.id, "one", idempotency=key())
    again = await world.sessions.begin("a", session.id, Draft(None, None, (user("one"),), idempotency=key()))
    assert again.is_replay and again.turn.id == turn.id and again.turn.state == "running"
    await world.sessions.complete("a", turn.id, Completion(assistant("hi"), (9,), "stop", b"whole"))
    replayed = await world.sessions.replay("a", key())
    assert replayed is not None and replayed.id == turn.id and replayed.state == "complete"
    assert (await world.sessions.record("a", turn.id)).response == b"whole"
    with pytest.raises(IdempotencyConflictError):
        await world.sessions.replay("a", key(body="other"))
    assert await world.sessions.replay("b", key(body="other")) is None


async def test_a_begin_whose_caller_goes_away_leaves_nothing_running(world: World) -> None:
    session = await world.sessions.create("a")
    for _ in range(20):
        task = asyncio.create_task(world.begin(session.id))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await world.sessions.get("a", session.id)).running is None


async def test_what_the_caller_stores_comes_back_to_the_byte(world: World) -> None:
    session = await world.sessions.create("a")
    turn = await world.say(session.id, request=b"\x00asked", response_id="resp_1")
    assert await world.sessions.record("a", "resp_1") == Record(b"\x00asked", b"answer", (b"one", b"two"))
    assert await world.sessions.turn("a", "resp_1") == turn


async def test_arguments_of_any_size_come_back_as_they_were(world: World) -> None:
    session = await world.sessions.create("a")
    turn = await world.begin(session.id)
    arguments: JsonObject = {
        "big": 10**40,
        "float": 1e300,
        "none": None,
        "text": "\u0000\U0001f600",
        "list": [1, 1.0, True],
    }
    call: JsonObject = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    answer: JsonObject = {"role": "assistant", "content": "", "tool_calls": [call]}
    done = await world.sessions.complete("a", turn.id, Completion(answer))
    await world.reopened()
    assert await world.sessions.turn("a", turn.id) == done and done.answer == answer
    loaded = await world.sessions.load("a", await world.sessions.export("a", session.id))
    assert (await world.sessions.path("a", loaded.id)).messages()[-1] == answer


async def test_messages_are_added_without_an_answer(world: World) -> None:
    session = await world.sessions.create("a", kind="conversation")
    await world.say(session.id, "one")
    context = (await world.sessions.path("a", session.id)).token_ids()
    added = await world.sessions.append("a", session.id, (user("two"), user("three")), request=b"items")
    assert added.state == "complete" and added.answer is None
    assert await world.texts(session.id) == ["one", "re: one", "two", "three"]
    assert (await world.sessions.path("a", session.id)).token_ids() == context


async def test_an_edit_changes_the_text_and_forgets_the_tokens_after_it(world: World) -> None:
    session = await world.sessions.create("a")
    first = await world.say(session.id, "one")
    await world.say(session.id, "two")
    removed = await world.sessions.edit("a", first.id, messages=(user("uno"),), answer=None, record=Record())
    assert await world.texts(session.id) == ["uno", "two", "re: two"]
    path = await world.sessions.path("a", session.id)
    assert path.token_ids() == [] and path.tip is not None and path.tip.mark is None
    assert removed.tips[0].token_ids == (1, 2, 3, 4, 5, 1, 2, 3, 4, 5) and removed.tips[0].shared_len == 0


async def test_a_deleted_session_is_gone_with_its_turns(world: World) -> None:
    session = await world.sessions.create("a")
    turn = await world.say(session.id)
    removed = await world.sessions.delete("a", session.id)
    assert removed.session_ids == (session.id,) and removed.turn_ids == (turn.id,)
    assert removed.tips[0].token_ids == (1, 2, 3, 4, 5) and removed.tips[0].shared_len == 0
    for look in (world.sessions.get("a", session.id), world.sessions.turn("a", turn.id)):
        with pytest.raises(NotFoundError):
            await look


async def test_a_deleted_session_leaves_to_its_forks_what_they_continue(world: World) -> None:
    session = await world.sessions.create("a")
    await world.say(session.id, "one")
    fork = await world.sessions.fork("a", session.id)
    await world.say(session.id, "two")
    second_fork = await world.sessions.fork("a", fork.id)
    removed = await world.sessions.delete("a", session.id)
    assert [(tip.token_ids, tip.shared_len) for tip in removed.tips] == [((1, 2, 3, 4, 5) * 2, 5)]
    assert await world.texts(fork.id) == ["one", "re: one"]
    assert (await world.sessions.delete("a", fork.id)).turn_ids == ()
    assert await world.texts(second_fork.id) == ["one", "re: one"]
    assert len((await world.sessions.delete("a", second_fork.id)).turn_ids) == 1


async def test_nothing_of_a_deleted_text_is_left_on_disk(world: World) -> None:
    session, other = await world.sessions.create("a", metadata={"m": "sesame"}), await world.sessions.create("a")
    secret = "open sesame " * 2000
    for _ in range(5):
        await world.say(session.id, secret, request=b"open sesame", response_id=None)
        await world.say(other.id, "kept text")

    def left(text: bytes) -> int:
        return sum(file.read_bytes().count(text) for file in world.folder.iterdir())

    assert left(b"sesame") and left(b"kept text")
    await world.sessions.delete("a", session.id)
    assert not left(b"sesame") and left(b"kept text")


async def test_a_deleted_turn_is_found_no_more_and_goes_with_those_that_continue_it(world: World) -> None:
    session = await world.sessions.create("a", kind="response")
    first = await world.say(session.id, "sesame", response_id="resp_1")
    second = await world.say(session.id, "two", response_id="resp_2")
    assert (await world.sessions.delete_turn("a", "resp_1")).turn_ids == ()
    for ref in ("resp_1", first.id):
        with pytest.raises(NotFoundError):
            await world.sessions.turn("a", ref)
    assert await world.texts(session.id) == ["sesame", "re: sesame", "two", "re: two"]
    removed = await world.sessions.delete_turn("a", "resp_2")
    assert set(removed.turn_ids) == {first.id, second.id} and removed.session_ids == (session.id,)
    assert not any(b"sesame" in file.read_bytes() for file in world.folder.iterdir())


async def test_a_session_expires_without_use_and_is_swept(world: World) -> None:
    session = await world.sessions.create("a", ttl_s=60)
    turn = await world.say(session.id)
    world.clock.now += 59
    await world.say(session.id)
    world.clock.now += 59
    await world.begin(session.id, idempotency=key())
    world.clock.now += 600
    running = await world.sessions.get("a", session.id)
    assert running.running is not None
    await world.sessions.interrupt("a", running.running)
    world.clock.now += 60
    for look in (world.sessions.get("a", session.id), world.sessions.turn("a", turn.id)):
        with pytest.raises(NotFoundError):
            await look
    assert (await world.sessions.list("a")).items == ()
    assert (await world.sessions.sweep()).session_ids == (session.id,)
    assert (await world.sessions.sweep()).session_ids == ()


async def test_a_name_finds_its_session_until_that_expires(world: World) -> None:
    session = await world.sessions.named("a", "mine")
    assert await world.sessions.named("a", "mine") == session
    assert (await world.sessions.named("b", "mine")).id != session.id
    together = await asyncio.gather(*(world.sessions.named("a", "new") for _ in range(8)))
    assert len({one.id for one in together}) == 1
    await world.say(session.id)
    await world.sessions.update("a", session.id, ttl_s=1)
    world.clock.now += 2
    assert (await world.sessions.named("a", "mine")).id != session.id
    removed = await world.sessions.sweep()  # the engine is told of what goes here, and of nothing else
    assert removed.session_ids == (session.id,) and len(removed.tips) == 1


async def test_another_tenants_things_are_as_unknown_as_unknown_ones(world: World) -> None:
    session = await world.sessions.create("a")
    turn = await world.say(session.id, response_id="resp_1")
    sessions = world.sessions

    async def refusals(tenant: str, session_id: str, turn_id: str, response_id: str) -> list[str]:
        draft = Draft(None, None, ())
        looks = [
            sessions.get(tenant, session_id),
            sessions.update(tenant, session_id),
            sessions.delete(tenant, session_id),
            sessions.fork(tenant, session_id),
            sessions.rollback(tenant, session_id, to=None),
            sessions.turns(tenant, session_id),
            sessions.path(tenant, session_id),
            sessions.begin(tenant, session_id, draft),
            sessions.begin(tenant, session_id, draft, branch="fork"),
            sessions.append(tenant, session_id, ()),
            sessions.export(tenant, session_id),
            sessions.list(tenant, after=session_id),
            *(
                look(tenant, ref)
                for look in (sessions.turn, sessions.record, sessions.path_to, sessions.delete_turn)
                for ref in (turn_id, response_id)
            ),
            sessions.complete(tenant, turn_id, Completion(None)),
            sessions.interrupt(tenant, turn_id),
            sessions.edit(tenant, turn_id, messages=(), answer=None, record=Record()),
        ]
        told = []
        for look in looks:
            with pytest.raises(NotFoundError) as refused:
                await look
            told.append(str(refused.value))
        return told

    foreign = await refusals("b", session.id, turn.id, "resp_1")
    unknown = await refusals("b", "sess_0", "turn_0", "resp_0")
    assert [
        text.replace(session.id, "sess_0").replace(turn.id, "turn_0").replace("resp_1", "resp_0") for text in foreign
    ] == unknown
    assert await world.sessions.turn("a", turn.id) == turn


async def test_lists_come_in_pages(world: World) -> None:
    ids = [(await world.sessions.create("a")).id for _ in range(5)]
    await world.sessions.create("b")
    await world.sessions.create("a", kind="conversation")
    seen: list[str] = []
    after = None
    while True:
        page = await world.sessions.list("a", limit=2, after=after)
        seen += [session.id for session in page.items]
        after = seen[-1]
        if not page.has_more:
            break
    assert seen == ids[::-1]
    turns = [(await world.say(ids[0], str(number))).id for number in range(3)]
    page_of_turns = await world.sessions.turns("a", ids[0], limit=2)
    assert [turn.id for turn in page_of_turns.items] == turns[:2] and page_of_turns.has_more
    rest = await world.sessions.turns("a", ids[0], limit=2, after=turns[1])
    assert [turn.id for turn in rest.items] == turns[2:] and not rest.has_more


async def test_a_session_is_exported_and_loaded_with_everything(world: World) -> None:
    session = await world.sessions.create("a", metadata={"k": "v"})
    await world.say(session.id, "one", response_id="resp_1", request=b"\xffraw")
    fork = await world.sessions.fork("a", session.id)
    await world.say(fork.id, "two")
    await world.begin(fork.id, "running")
    data = await world.sessions.export("a", fork.id)
    await world.sessions.delete("a", session.id)
    loaded = await world.sessions.load("b", data)
    assert await world.texts(loaded.id, "b") == ["one", "re: one", "two", "re: two"]
    ours, theirs = await world.sessions.path("a", fork.id), await world.sessions.path("b", loaded.id)
    assert ours.token_ids() == theirs.token_ids() and loaded.metadata == {"k": "v"}
    assert [blank(turn) for turn in ours.turns] == [blank(turn) for turn in theirs.turns]
    assert (await world.sessions.record("b", theirs.turns[0].id)).request == b"\xffraw"


def blank(turn: Turn) -> Turn:
    """A turn without what loading changes."""
    return dataclasses.replace(turn, id="", session_id="", tenant="", parent=None, response_id=None)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"[" * 10_000, "digest", "format", "parent"])
async def test_a_damaged_archive_is_refused(world: World, damage: bytes | str) -> None:
    session = await world.sessions.create("a")
    await world.say(session.id, "one")
    data = await world.sessions.export("a", session.id)
    if isinstance(damage, str):
        old, new = {
            "digest": (b"re: one", b"re: two"),
            "format": (b"espalier-session-1", b"espalier-session-9"),
            "parent": (b'"parent":null', b'"parent":"x"'),
        }[damage]
        assert old in data
        damage = data.replace(old, new)
    with pytest.raises(InvalidArchiveError):
        await world.sessions.load("a", damage)
