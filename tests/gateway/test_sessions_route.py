"""/v1/sessions over HTTP: what clients see of sessions and turns, and that tenants see nothing of each other's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from espalier.engine.messages import Forget, Fork, Hold, Release
from espalier.gateway.auth import KeyRing, digest
from espalier.gateway.scripted_client import answer
from espalier.gateway.session_lease import hold
from espalier.radix.decision import LEVELS
from espalier.sessions import Completion, Draft, JsonObject, Sessions
from espalier.sessions.store import Store
from espalier.sessions.store.store import connect
from espalier.sessions.value import digest as body_digest
from tests.gateway.conftest import Api

pytestmark = pytest.mark.anyio

Make = Callable[..., Api]
KEYS = KeyRing((("a", digest("ka")), ("b", digest("kb"))))
OURS, THEIRS = {"Authorization": "Bearer ka"}, {"Authorization": "Bearer kb"}


async def say(api: Api, text: str, session: str = "s", **more: Any) -> dict[str, Any]:
    answered = await api.chat(text, session_id=session, **more)
    assert answered.status_code == 200, answered.text
    extras: dict[str, Any] = answered.json()["espalier"]
    return extras


async def test_a_session_is_made_read_changed_and_deleted(make: Make) -> None:
    api = make()
    made = await api.post("/v1/sessions", name="trip", metadata={"k": "v"}, ttl_s=60)
    assert made.status_code == 200
    session = made.json()
    assert session["object"] == "session" and session["name"] == "trip" and session["metadata"] == {"k": "v"}
    assert session["head"] is None and session["expires_at"] - session["updated_at"] in (60, 61)
    for ref in (session["id"], "trip"):
        assert (await api.http.get(f"/v1/sessions/{ref}")).json() == session
    changed = (await api.post("/v1/sessions/trip", metadata={"k": "w"})).json()
    assert changed["metadata"] == {"k": "w"} and changed["id"] == session["id"]
    deleted = await api.http.delete("/v1/sessions/trip")
    assert deleted.json() == {"id": session["id"], "object": "session.deleted", "deleted": True}
    for ref in (session["id"], "trip"):
        gone = await api.http.get(f"/v1/sessions/{ref}")
        assert gone.status_code == 404 and gone.json()["error"]["code"] == "not_found"


async def test_turns_show_what_was_said_and_what_became_of_it(make: Make) -> None:
    api = make()
    first = await say(api, "one")
    second = await say(api, "two")
    page = (await api.http.get("/v1/sessions/s/turns")).json()
    assert [turn["id"] for turn in page["data"]] == [first["turn_id"], second["turn_id"]]
    turn = page["data"][1]
    assert turn["parent"] == first["turn_id"] and turn["state"] == "complete" and turn["finish_reason"] == "stop"
    assert turn["messages"] == [{"role": "user", "content": "two"}]
    assert turn["answer"] == {"role": "assistant", "content": "Hello there"} and turn["answer_tokens"] == 3
    assert (await api.http.get(f"/v1/sessions/s/turns/{turn['id']}")).json() == turn
    assert (await api.http.get("/v1/sessions/s")).json()["head"] == turn["id"]
    limited = (await api.http.get("/v1/sessions/s/turns?limit=1")).json()
    assert limited["has_more"] and limited["last_id"] == first["turn_id"]
    rest = (await api.http.get(f"/v1/sessions/s/turns?limit=1&after={limited['last_id']}")).json()
    assert [turn["id"] for turn in rest["data"]] == [second["turn_id"]]


async def test_forks_and_rollbacks_by_turn_or_by_response(make: Make) -> None:
    api = make()
    first = await say(api, "one")
    completion = (await api.chat("two", session_id="s")).json()
    forked = (await api.post("/v1/sessions/s/fork", at=first["turn_id"], name="fork")).json()
    assert forked["head"] == forked["forked_at"] == first["turn_id"] and forked["name"] == "fork"
    await say(api, "other", "fork")
    ours = api.tokenizer.decode(api.engine.requests[-1].token_ids)
    assert "one" in ours and "two" not in ours
    by_response = (await api.post("/v1/sessions/s/fork", at=completion["id"])).json()
    assert by_response["head"] == completion["espalier"]["turn_id"]
    rolled = await api.http.post("/v1/sessions/s/rollback", json={"to": first["turn_id"]})
    assert rolled.json()["head"] == first["turn_id"]
    assert (await api.http.post("/v1/sessions/s/rollback", json={"to": None})).json()["head"] is None
    taken = await api.post("/v1/sessions/s/fork", name="fork")
    assert taken.status_code == 409 and taken.headers["x-should-retry"] == "false"
    unknown = await api.http.post("/v1/sessions/s/rollback", json={"to": "turn_0"})
    assert unknown.status_code == 404


async def test_sessions_come_in_pages(make: Make) -> None:
    api = make()
    ids = [(await api.post("/v1/sessions")).json()["id"] for _ in range(3)]
    await api.post("/v1/conversations")
    page = (await api.http.get("/v1/sessions?limit=2")).json()
    assert [one["id"] for one in page["data"]] == ids[:0:-1] and page["has_more"]
    rest = (await api.http.get(f"/v1/sessions?after={page['last_id']}")).json()
    assert [one["id"] for one in rest["data"]] == ids[:1] and not rest["has_more"]


async def test_a_session_is_exported_and_imported(make: Make) -> None:
    api = make()
    await say(api, "one")
    exported = await api.http.get("/v1/sessions/s/export")
    loaded = (await api.http.post("/v1/sessions/import", content=exported.content)).json()
    await say(api, "two", loaded["id"])
    assert "one" in api.tokenizer.decode(api.engine.requests[-1].token_ids)
    damaged = await api.http.post("/v1/sessions/import", content=exported.content.replace(b"one", b"uno"))
    assert damaged.status_code == 400 and damaged.json()["error"]["code"] == "invalid_archive"


def forged(exported: bytes, changes: dict[str, Any]) -> bytes:
    """An archive with changes, whose digest is right."""
    archive = json.loads(exported)
    session: dict[str, Any] = archive["session"]
    for name, value in changes.items():
        (session if name in session else session["turns"][0])[name] = value
    body = json.dumps(session).encode()
    head = json.dumps({"format": archive["format"], "digest": body_digest(body).hex()}).encode()
    return head[:-1] + b', "session": ' + body + b"}"


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": '[{"role": "user", "content": 5}]'},
        {"messages": '[{"role": "robot", "content": "x"}]'},
        {"messages": '[{"role": "user", "content": "\\ud800"}]'},
        {"messages": "[5]"},
        {"answer": '{"role": "assistant", "tool_calls": 5}'},
        {"prompt_ids": [2**40]},
        {"output_ids": [-1]},
        {"mark": {"length": 2**63, "digest": "", "num_ends": 1}},
        {"mark": {"length": 1, "digest": "", "num_ends": -1}},
        {"kind": "conversation"},
        {"ttl_s": -5.0},
    ],
)
async def test_an_archive_that_nobody_exported_is_refused(make: Make, changes: dict[str, Any]) -> None:
    api = make()
    await say(api, "one")
    exported = (await api.http.get("/v1/sessions/s/export")).content
    assert (await api.http.post("/v1/sessions/import", content=forged(exported, {}))).status_code == 200
    refused = await api.http.post("/v1/sessions/import", content=forged(exported, changes))
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "invalid_archive", refused.text


async def test_a_deleted_session_is_forgotten_by_the_engine(make: Make) -> None:
    api = make()
    said = await say(api, "one")
    await api.http.delete("/v1/sessions/s")
    (note,) = api.engine.notes
    assert isinstance(note, Forget)
    assert note.session.endswith(said["session_id"])
    assert note.token_ids[: len(api.engine.requests[0].token_ids)] == api.engine.requests[0].token_ids


async def test_the_engine_is_told_whose_a_prompt_is_and_what_waits_for_tools(make: Make, sessions: Sessions) -> None:
    api = make()
    said = await say(api, "one")
    key = api.engine.requests[-1].session
    assert key.endswith(said["session_id"])
    call: JsonObject = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": {"a": 1}}}
    path = await sessions.path("", said["session_id"])
    result: JsonObject = {"role": "tool", "tool_call_id": "c1", "content": "7"}
    results: tuple[JsonObject, ...]
    for results in ((), (result,)):
        begun = await sessions.begin("", said["session_id"], Draft(path.session.head, path.session.head, results))
        answered: JsonObject = {"role": "assistant", "content": "", "tool_calls": [call]}
        turn = await sessions.complete("", begun.turn.id, Completion(answered, (1,), "tool_calls"))
        path = await sessions.path("", said["session_id"])
        hold(api.engine, sessions, turn)
    unknown, known = api.engine.notes
    assert isinstance(unknown, Hold) and unknown.session == key and unknown.waits_s == ()
    assert isinstance(known, Hold) and len(known.waits_s) == len(LEVELS)
    await api.post("/v1/sessions/s/fork")
    await api.http.post("/v1/sessions/s/rollback", json={"to": None})
    assert isinstance(api.engine.notes[2], Fork) and isinstance(api.engine.notes[3], Release)
    leased = await api.post("/v1/sessions/s/lease", ttl_s=5, priority=2)
    assert leased.json() == {"id": said["session_id"], "ttl_s": 5.0, "priority": 2, "object": "session.lease"}
    assert (await api.http.delete("/v1/sessions/s/lease")).json()["deleted"]
    assert api.engine.notes[4:] == [Hold(key, (), 2, 5.0, 5.0), Release(key)]


@pytest.mark.parametrize("name", ["team/trip", "/", "a//b", "s/turns", "50%2F50", "é ü?#", "日本", "a\nb"])
async def test_a_session_of_any_name_is_found_by_it(make: Make, name: str) -> None:
    api = make()
    said = await say(api, "one", name)
    path = f"/v1/sessions/{quote(name, safe='')}"
    assert (await api.http.get(path)).json()["id"] == said["session_id"]
    assert (await api.http.get(f"{path}/turns/{said['turn_id']}")).json()["id"] == said["turn_id"]
    assert (await api.post(f"{path}/fork")).json()["head"] == said["turn_id"]
    assert (await api.http.delete(path)).json()["deleted"]


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("POST", "/v1/sessions", {"name": ""}, "name"),
        ("POST", "/v1/sessions", {"name": "sess_x"}, "name"),
        ("POST", "/v1/sessions", {"name": "x" * 129}, "name"),
        ("POST", "/v1/sessions", {"ttl_s": 0}, "ttl_s"),
        ("POST", "/v1/sessions", {"colour": 1}, "colour"),
        ("POST", "/v1/sessions", {"metadata": {"k": 5}}, "metadata[...]"),
        ("POST", "/v1/sessions", {"metadata": {"k" * 65: "v"}}, "metadata"),
        ("POST", "/v1/sessions/s/fork", {"name": "conv_x"}, "name"),
        ("POST", "/v1/sessions/s/rollback", {}, "to"),
        ("POST", "/v1/sessions/s/lease", {"ttl_s": 3601}, "ttl_s"),
        ("POST", "/v1/sessions/s/lease", {"priority": 1.5}, "priority"),
        ("GET", "/v1/sessions?limit=0", None, "limit"),
        ("GET", "/v1/sessions?limit=1e9", None, "limit"),
        ("GET", "/v1/sessions?order=up", None, "order"),
        ("GET", "/v1/sessions/s/turns?limit=101", None, "limit"),
    ],
)
async def test_what_cant_be_honoured_is_named(make: Make, method: str, path: str, body: Any, param: str | None) -> None:
    api = make()
    await say(api, "one")
    refused = await api.http.request(method, path, json=body)
    assert refused.status_code == 400 and refused.json()["error"]["param"] == param, refused.text


async def test_without_a_store_there_are_no_sessions(api: Api) -> None:
    assert (await api.http.get("/v1/sessions")).status_code == 404


async def test_another_tenants_session_answers_as_one_that_there_is_not(make: Make) -> None:
    api = make(keys=KEYS)
    body = {"messages": [{"role": "user", "content": "secret"}], "session_id": "s"}
    said = (await api.http.post("/v1/chat/completions", json=body, headers=OURS)).json()
    session, turn, response = said["espalier"]["session_id"], said["espalier"]["turn_id"], said["id"]

    async def answers(session: str, turn: str, response: str) -> list[tuple[int, str]]:
        one = f"/v1/sessions/{session}"
        asked: list[tuple[str, str, Any]] = [
            ("GET", one, None),
            ("POST", one, {"metadata": {}}),
            ("DELETE", one, None),
            ("POST", f"{one}/fork", {}),
            ("POST", f"{one}/rollback", {"to": turn}),
            ("POST", f"{one}/rollback", {"to": None}),
            ("GET", f"{one}/export", None),
            ("POST", f"{one}/lease", {}),
            ("DELETE", f"{one}/lease", None),
            ("GET", f"{one}/turns", None),
            ("GET", f"{one}/turns/{turn}", None),
            ("GET", f"{one}/turns/{response}", None),
            ("GET", f"/v1/sessions?after={session}", None),
            ("GET", f"/v1/sessions/mine/turns/{turn}", None),
            ("GET", f"/v1/sessions/mine/turns?after={turn}", None),
            ("POST", "/v1/sessions/mine/rollback", {"to": turn}),
            ("POST", "/v1/sessions/mine/fork", {"at": response}),
            ("POST", "/v1/chat/completions", body | {"session_id": session}),
            ("GET", f"/v1/responses/{response}", None),
            ("DELETE", f"/v1/responses/{response}", None),
            ("POST", f"/v1/responses/{response}/cancel", None),
            ("GET", f"/v1/responses/{response}/input_items", None),
            ("GET", f"/v1/conversations/{session}", None),
        ]
        told = []
        for method, path, sent in asked:
            got = await api.http.request(method, path, json=sent, headers=THEIRS)
            told.append((got.status_code, got.text))
        return told

    await api.http.post("/v1/sessions", json={"name": "mine"}, headers=THEIRS)
    foreign = await answers(session, turn, response)
    unknown = await answers("sess_0", "turn_0", "chatcmpl-0")
    assert {status for status, _ in foreign} == {404}
    same = [(status, text.replace(session, "sess_0").replace(turn, "turn_0").replace(response, "chatcmpl-0"))
            for status, text in foreign]  # fmt: skip
    assert same == unknown
    assert (await api.http.get("/v1/sessions", headers=THEIRS)).json()["data"][0]["name"] == "mine"
    assert (await api.http.get("/v1/sessions/s", headers=OURS)).json()["id"] == session


async def test_ready_says_when_sessions_cant_be_stored(make_api: Make, tmp_path: Any) -> None:
    def small(path: Any) -> Any:
        connection = connect(path)
        connection.execute("PRAGMA max_page_count = 60")
        return connection

    sessions = await Sessions.over(Store.open(tmp_path / "s", connect=small))
    api = make_api(answer(["x"]), sessions=sessions)
    assert (await api.http.get("/ready")).status_code == 200
    refused = await api.post("/v1/sessions")
    while refused.status_code == 200:
        refused = await api.post("/v1/sessions", metadata={str(number): "x" * 512 for number in range(16)})
    assert refused.status_code == 503 and refused.json()["error"]["code"] == "store_read_only"
    failing = await api.http.get("/ready")
    assert failing.status_code == 503 and "SQLITE_FULL" in failing.json()["reason"]
    assert (await api.http.get("/live")).status_code == 200
    await sessions.close()
