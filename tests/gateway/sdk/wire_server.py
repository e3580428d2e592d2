"""A server as WIRE says it is, written for the SDK's tests alone: chat completions as resumable streams, and sessions.

What it answers is a script. It keeps each turn by its idempotency key, gives each event an id, and goes on behind a
Last-Event-ID; `failures` are answered first, one for each request; a
careless server takes any Last-Event-ID for one of the turn that it makes now. `CuttingTransport` breaks connections.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

Chunks = list[dict[str, Any]]

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 4}}


def said(*words: str) -> Chunks:
    """The chunks of a turn in words."""
    first = [{"delta": {"role": "assistant", "content": ""}}]
    return [*first, *({"delta": {"content": word}} for word in words), {"delta": {}, "finish_reason": "stop"}]


def called(*calls: tuple[str, str], size: int = 4, completes: bool = True) -> Chunks:
    """The chunks of a turn of calls, name and arguments each, the arguments in pieces of `size` characters."""
    chunks: Chunks = [{"delta": {"role": "assistant", "content": ""}}]
    for index, (name, arguments) in enumerate(calls):
        begin = {"index": index, "id": f"call_{name}_{index}", "type": "function"}
        chunks.append({"delta": {"tool_calls": [{**begin, "function": {"name": name, "arguments": ""}}]}})
        for start in range(0, len(arguments), size):
            piece = {"index": index, "function": {"arguments": arguments[start : start + size]}}
            chunks.append({"delta": {"tool_calls": [piece]}})
        if completes:
            chunks[-1]["completed_call"] = begin["id"]
    return [*chunks, {"delta": {}, "finish_reason": "tool_calls"}]


@dataclass
class Turn:
    """A turn that was made: what asked for it, and the payloads of its events."""

    number: int
    body: bytes
    payloads: list[str]


@dataclass
class WireServer:
    """`script` gives the chunks of each new turn; `has_ids` False is a server that can't resume."""

    script: Iterable[Chunks] | Callable[[dict[str, Any]], Chunks]
    failures: list[Response] = field(default_factory=list)
    has_ids: bool = True
    is_careless: bool = False
    num_made: int = 0
    turns: dict[str, Turn] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    sessions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/v1/sessions/{id}", self.session),
                Route("/v1/sessions/{id}", self.delete, methods=["DELETE"]),
                Route("/v1/sessions/{id}/turns", self.session_turns),
                Route("/v1/sessions/{id}/turns/{turn}", self.session_turn),
                Route("/v1/sessions/{id}/fork", self.fork, methods=["POST"]),
                Route("/v1/sessions/{id}/rollback", self.rollback, methods=["POST"]),
            ]
        )
        self._lines = iter(()) if callable(self.script) else iter(self.script)

    def next_chunks(self, body: dict[str, Any]) -> Chunks:
        return self.script(body) if callable(self.script) else next(self._lines)

    async def chat(self, request: Request) -> Response:
        raw = await request.body()
        self.requests.append(request)
        if self.failures:
            return self.failures.pop(0)
        key = request.headers["idempotency-key"]
        turn = self.turns.get(key)
        last = request.headers.get("last-event-id")
        if turn is None and last and not self.is_careless:
            return refusal(409, "event_not_found")
        if turn is None:
            body = json.loads(raw)
            self.bodies.append(body)
            turn = self.turns[key] = Turn(self.num_made, raw, self.payloads(body, self.num_made))
            self.num_made += 1
        if turn.body != raw:
            return refusal(409, "idempotency_conflict", {"x-should-retry": "false"})
        start = 0
        if last:
            name, _, number = last.rpartition("/")
            if name != str(turn.number):
                return refusal(409, "event_not_found")
            start = int(number) + 1
        return StreamingResponse(self.written(turn, start), media_type="text/event-stream")

    def payloads(self, body: dict[str, Any], number: int) -> list[str]:
        session_id = body.get("session_id")
        told: dict[str, Any] = {"turn_id": f"turn_{number}", "session_id": session_id} if session_id else {}
        head = {"id": f"chatcmpl-{number}"}
        payloads = []
        message: dict[str, Any] = {"role": "assistant"}
        for chunk in self.next_chunks(body):
            choice = {"index": 0, **chunk}
            extra = dict(told)
            if call_id := choice.pop("completed_call", None):
                extra["completed_call"] = call_id
            add(message, choice["delta"])
            more = {"espalier": extra} if extra else {}
            payloads.append(compact({**head, "choices": [choice], **more}))
        payloads.append(compact({**head, "model": "wire", "choices": [], "usage": USAGE}))
        if session_id:
            turns = self.sessions.setdefault(session_id, [])
            parent = turns[-1]["id"] if turns else None
            turns.append({"id": f"turn_{number}", "parent": parent, "messages": body["messages"], "answer": message})
        return payloads

    async def written(self, turn: Turn, start: int) -> AsyncIterator[bytes]:
        for number, payload in enumerate(turn.payloads[start:], start):
            name = f"id: {turn.number}/{number}\n" if self.has_ids else ""
            yield f"{name}data: {payload}\n\n".encode()
        yield b"data: [DONE]\n\n"

    async def models(self, request: Request) -> Response:
        return self.failures.pop(0) if self.failures else JSONResponse({"object": "list", "data": [{"id": "wire"}]})

    async def session(self, request: Request) -> Response:
        turns = self.sessions.get(request.path_params["id"])
        if turns is None:
            return refusal(404, "session_not_found")
        return JSONResponse({"id": request.path_params["id"], "head": turns[-1]["id"] if turns else None})

    async def session_turns(self, request: Request) -> Response:
        limit, after = int(request.query_params["limit"]), request.query_params.get("after")
        turns = list(self.sessions[request.path_params["id"]])
        if request.query_params["order"] == "desc":
            turns.reverse()
        start = next(number for number, turn in enumerate(turns, 1) if turn["id"] == after) if after else 0
        return JSONResponse({"data": turns[start : start + limit], "has_more": start + limit < len(turns)})

    async def session_turn(self, request: Request) -> Response:
        turns = self.sessions[request.path_params["id"]]
        return JSONResponse(next(turn for turn in turns if turn["id"] == request.path_params["turn"]))

    async def fork(self, request: Request) -> Response:
        turns, at = self.sessions[request.path_params["id"]], (await request.json()).get("at")
        fork_id = f"{request.path_params['id']}-{len(self.sessions)}"
        self.sessions[fork_id] = upto(turns, at) if at else list(turns)
        return JSONResponse({"id": fork_id, "head": self.sessions[fork_id][-1]["id"]})

    async def rollback(self, request: Request) -> Response:
        name, to = request.path_params["id"], (await request.json())["to"]
        self.sessions[name] = upto(self.sessions[name], to) if to else []
        return JSONResponse({"id": name, "head": to})

    async def delete(self, request: Request) -> Response:
        del self.sessions[request.path_params["id"]]
        return JSONResponse({"deleted": True})


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def upto(turns: list[dict[str, Any]], at: str) -> list[dict[str, Any]]:
    return turns[: [turn["id"] for turn in turns].index(at) + 1]


def add(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Put a delta to the message that the session keeps."""
    if delta.get("content"):
        message["content"] = message.get("content", "") + delta["content"]
    for part in delta.get("tool_calls", ()):
        calls = message.setdefault("tool_calls", [])
        if "id" in part:
            calls.append({"id": part["id"], "type": "function", "function": dict(part["function"])})
        else:
            calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]


def refusal(status: int, code: str, headers: dict[str, str] | None = None) -> Response:
    """An error with the body that all errors have."""
    error = {"message": f"this is {code}", "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status, headers)


class CuttingTransport(httpx.AsyncBaseTransport):
    """Passes requests on, and breaks the answers: `cuts` says after how many bytes, for one connection after another.

    None lets a connection live, a negative number refuses it. When there are no more cuts, all live.
    """

    def __init__(self, app: ASGIApp, cuts: Iterable[int | None] = ()) -> None:
        self._inner = httpx.ASGITransport(app)
        self._cuts = iter(cuts)
        self.num_connections = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.num_connections += 1
        cut = next(self._cuts, None)
        if cut is not None and cut < 0:
            raise httpx.ConnectError("refused")
        answer = await self._inner.handle_async_request(request)
        if cut is None:
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, stream=CutStream(await answer.aread(), cut))


class CutStream(httpx.AsyncByteStream):
    """So many bytes, then a broken line."""

    def __init__(self, data: bytes, cut: int) -> None:
        self._data, self._cut = data, cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data[: self._cut]
        if self._cut < len(self._data):
            raise httpx.ReadError("the line broke")
