"""Chat completions with a session, or with a key: begun, found again by the key, and made as live turns.

A session's history is taken as tokens; what the client resends of it is aligned with it. One turn runs at a time: a
second is refused, unless the first one's client has left, which ends that one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

import msgspec

from espalier.gateway.chat_answer import ChatAnswer
from espalier.gateway.chat_request import chat_turn, prompt_cache_of
from espalier.gateway.chat_run import ChatRun, Place
from espalier.gateway.errors import ApiError, invalid
from espalier.gateway.history import plain_messages
from espalier.gateway.live_turn import LiveTurn, Policy
from espalier.gateway.replay import Replays
from espalier.gateway.response_input import replayed
from espalier.gateway.sampling import sampling_params
from espalier.gateway.service import Prepared, Service
from espalier.gateway.session_lease import session_key
from espalier.gateway.stored_answer import events_of, whole_of
from espalier.gateway.wire.answers import Divergence, Extras, LostAnswer
from espalier.gateway.wire.requests import ChatRequest, Message
from espalier.sessions import Draft, Idempotency, Path, Session, Sessions, Turn
from espalier.sessions.align import Alignment, align
from espalier.sessions.errors import BusyError, NotFoundError, TurnMismatchError
from espalier.sessions.session import ID_PREFIXES

ATTEMPTS = 3
"""Of beginning a turn, where others begin and end in its session meanwhile."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its body, the session that it names, and what its headers say."""

    chat: ChatRequest
    tenant: str
    session: str = ""
    if_match: str | None = None
    idempotency: Idempotency | None = None
    first_event: int = 0

    @property
    def outlives(self) -> bool:
        """Whether its answer is more than its connection."""
        named = self.session or self.if_match or self.chat.session_mode != "auto"
        return bool(named or self.idempotency is not None or self.first_event)


@dataclass(frozen=True, slots=True)
class Making:
    """An answer that is made, or was made a while ago: its events are in the log of the live turn."""

    run: ChatRun
    live: LiveTurn


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer from the store: whole, and as the events of its stream."""

    whole: bytes
    events: tuple[bytes, ...]

    async def numbered(self, start: int) -> AsyncGenerator[tuple[int, bytes], None]:
        """The events from one on."""
        for number in range(start, len(self.events)):
            yield number, self.events[number]


class ChatService:
    """See the module."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._replays: Replays[ChatRun] = Replays(service.options.resume_grace_s, service.clock)

    async def create(self, asked: Asked) -> Making | Stored:
        """Begin an answer, or find the one that the request's key has begun. Raises ApiError, SessionError."""
        self._check(asked)
        if (known := await self._known(asked)) is not None:
            return known
        if asked.first_event:
            message = "the stream that Last-Event-ID would resume is gone; send the request without it"
            raise ApiError(409, message, "Last-Event-ID", "stream_not_found", {"x-should-retry": "false"})
        if not asked.session:
            return await self._alone(asked)
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._next(asked, self._sessions)
            except BusyError as busy:
                if not await self._service.live.make_way(asked.tenant, busy.turn_id):
                    raise
        return await self._next(asked, self._sessions)

    @property
    def _sessions(self) -> Sessions:
        if self._service.sessions is None:
            raise invalid("this server keeps no sessions; leave session_id out", "session_id")
        return self._service.sessions

    def _check(self, asked: Asked) -> None:
        if asked.session and asked.chat.n != 1:
            raise invalid(f"n is {asked.chat.n}; a session has one answer to a turn, fork it for more", "n")
        if not asked.session and asked.if_match is not None:
            raise invalid("If-Match names the latest turn of a session; send session_id with it", "If-Match")
        if not asked.session and asked.chat.session_mode != "auto":
            raise invalid("session_mode says how messages continue a session; send session_id", "session_mode")

    async def _known(self, asked: Asked) -> Making | Stored | None:
        """What the key has begun, in a session or without."""
        if (key := asked.idempotency) is None:
            return None
        if not asked.session:
            return self._replayed(asked)
        turn = await self._sessions.replay(asked.tenant, key)
        if turn is not None and turn.state == "running" and self._service.live.get(asked.tenant, turn.id) is None:
            turn = await self._sessions.replay(asked.tenant, key)  # it has ended since it was read
        return None if turn is None else await self._again(turn, asked)

    def _replayed(self, asked: Asked) -> Making | None:
        found = None if asked.idempotency is None else self._replays.find(asked.tenant, asked.idempotency)
        return None if found is None else Making(found.run, found.live)

    async def _again(self, turn: Turn, asked: Asked) -> Making | Stored:
        """A turn that is there: as it runs, or from the store, in the form that is asked for now."""
        live = self._service.live.get(turn.tenant, turn.id)
        if live is not None and isinstance(live.maker, ChatRun) and live.maker.is_streamed == asked.chat.stream:
            return Making(live.maker, live)
        if turn.state != "complete":
            raise BusyError(turn.id)
        record = await self._sessions.record(turn.tenant, turn.id)
        model, options = self._service.model, asked.chat.stream_options
        if not asked.chat.stream:
            return Stored(record.response or whole_of(turn, model), ())
        if record.events or asked.first_event:
            return Stored(b"", record.events)
        return Stored(b"", events_of(turn, model, include_usage=options is not None and bool(options.include_usage)))

    async def _alone(self, asked: Asked) -> Making:
        chat = asked.chat
        prepared = await self._prepare(asked, chat.messages, None)
        # The same request may have come and been prepared, too; from here on nobody comes between.
        if (known := self._replayed(asked)) is not None:
            return known
        answer = ChatAnswer(self._service, chat, prepared)
        run = ChatRun(answer, None, is_streamed=chat.stream)
        live = self._start(asked, answer.answer_id, run)
        if asked.idempotency is not None:
            self._replays.add(asked.tenant, asked.idempotency, run, live)
        return Making(run, live)

    async def _next(self, asked: Asked, sessions: Sessions) -> Making | Stored:
        """The next turn of a session. Raises BusyError."""
        chat, tenant = asked.chat, asked.tenant
        session = await self._session(asked, sessions)
        path = _unused(asked) if session is None else await sessions.path(tenant, session.id)
        plain = plain_messages(chat.messages)
        aligned = align(path, plain, chat.session_mode)
        if aligned.replayed is not None:
            return await self._again(aligned.replayed, asked)
        given = {id(one): message for one, message in zip(plain, chat.messages, strict=True)}
        history = path.up_to(aligned.parent)
        whole = [*map(replayed, history.messages()), *(given[id(one)] for one in aligned.new)]
        prepared = await self._prepare(asked, whole, history)
        if session is None:  # made only now: a request that is refused leaves none
            session = await sessions.named(tenant, asked.session)
        prepared = replace(
            prepared,
            job=replace(prepared.job, session=session_key(tenant, session.id), is_group=False),
            left_len=path.tip.context_len if aligned.diverged is not None and path.tip is not None else 0,
        )
        answer = ChatAnswer(self._service, chat, prepared)
        draft = _draft(asked, path, aligned, prepared, answer.answer_id)
        begun = await sessions.begin(tenant, session.id, draft, if_match=asked.if_match)
        if begun.is_replay:
            return await self._again(begun.turn, asked)
        place = Place(sessions, self._service.client, begun.turn, _extras(begun.turn, aligned, prepared))
        run = ChatRun(answer, place, is_streamed=chat.stream)
        return Making(run, self._start(asked, begun.turn.id, run))

    async def _session(self, asked: Asked, sessions: Sessions) -> Session | None:
        """None where a name is used for the first time. Raises NotFoundError."""
        try:
            session = await sessions.find(asked.tenant, asked.session)
        except NotFoundError:
            if asked.session.startswith(ID_PREFIXES):
                raise
            return None
        if session.kind != "session":
            raise NotFoundError("session", asked.session)
        return session

    async def _prepare(self, asked: Asked, messages: list[Message], history: Path | None) -> Prepared:
        service, chat = self._service, asked.chat
        params = sampling_params(chat, service.defaults, service.options)
        turn = chat_turn(msgspec.structs.replace(chat, messages=messages))
        return await service.prepare(
            turn,
            params,
            n=chat.n,
            tenant=asked.tenant,
            cache_salt=chat.cache_salt,
            prompt_cache=prompt_cache_of(chat),
            history=history,
        )

    def _start(self, asked: Asked, turn_id: str, run: ChatRun) -> LiveTurn:
        policy: Policy = "attached" if asked.idempotency is None else "kept"
        return self._service.live.start(asked.tenant, turn_id, run.produce, policy, maker=run)


def _unused(asked: Asked) -> Path:
    """The history of a session that there is not yet. Raises TurnMismatchError."""
    if asked.if_match is not None:
        raise TurnMismatchError(asked.if_match, None)
    return Path(Session("", asked.tenant, "session", 0.0, 0.0))


def _draft(asked: Asked, path: Path, aligned: Alignment, prepared: Prepared, answer_id: str) -> Draft:
    spliced = prepared.prompt.splice
    assert spliced is not None
    return Draft(
        parent=aligned.parent,
        seen_head=path.session.head,
        messages=aligned.new,
        kept_len=spliced.kept_len,
        prompt_ids=spliced.new_ids,
        mark=spliced.mark,
        response_id=answer_id,
        idempotency=asked.idempotency,
        cache_salt=asked.chat.cache_salt,
    )


def _extras(turn: Turn, aligned: Alignment, prepared: Prepared) -> Extras:
    lost = None if prepared.prompt.splice is None else prepared.prompt.splice.lost
    diverged = aligned.diverged
    return Extras(
        session_id=turn.session_id,
        turn_id=turn.id,
        lossless=lost is None,
        lost=None if lost is None else LostAnswer(lost.turn_id, lost.token, lost.reason),
        diverged=None if diverged is None else Divergence(diverged.message, diverged.turn_id),
    )
