"""An agent: a model, tools and rules, and runs of it.

    @tool
    def weather(city: str) -> str: ...

    run = Agent(tools=[weather]).run_sync("Do I need an umbrella in Oslo?")
    print(run.answer, run.usage, run.cost)

`run` is async, `stream` tells what happens as it happens, `run_sync` and `stream_sync` are for programs without an
event loop. With a `Session` the conversation goes on where its last run ended, and a run that a crash ended is gone on
with.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from typing import TypeVar, overload

from espalier.gateway.sdk.answer import AnswerShape, answer_shape
from espalier.gateway.sdk.client import Client
from espalier.gateway.sdk.errors import DefinitionError
from espalier.gateway.sdk.event import Event, RunEnded
from espalier.gateway.sdk.hooks import Hooks
from espalier.gateway.sdk.journal import Began, Journal
from espalier.gateway.sdk.limit import Limit, Turns
from espalier.gateway.sdk.loop import Loop
from espalier.gateway.sdk.message import Message, Prompt, messages_of, system
from espalier.gateway.sdk.model import Model, Settings
from espalier.gateway.sdk.opening import finished_run, new_run_id, open_run, reopen_run
from espalier.gateway.sdk.request import MODES
from espalier.gateway.sdk.run import Run
from espalier.gateway.sdk.session import Session
from espalier.gateway.sdk.setup import Setup
from espalier.gateway.sdk.tool import Tool
from espalier.gateway.sdk.toolbox import Toolbox
from espalier.gateway.sdk.trace import Tracer
from espalier.gateway.sdk.usage import Price
from espalier.gateway.sdk.watch import Emit, in_own_loop, stepped, watched

A = TypeVar("A")

DEFAULT_LIMITS = (Turns(50),)


class Agent:
    """A model that is asked turn by turn, and what it may do.

    `model` is a `Client` (default: the server at $ESPALIER_URL) or a `ScriptedModel`. Plain functions among `tools`
    are made tools. `instructions` become the system message. `corrections` is how often a model whose answer does not
    fit its type is told so and asked again (with a server of ours only a validator of your own can refuse an answer).
    `tracer` is one of OpenTelemetry's. Raises DefinitionError.
    """

    def __init__(
        self,
        model: Model | None = None,
        *,
        tools: Sequence[Tool | Callable[..., object]] = (),
        instructions: str | None = None,
        settings: Settings | None = None,
        limits: Sequence[Limit] = DEFAULT_LIMITS,
        name: str = "agent",
        hooks: Hooks | None = None,
        tracer: Tracer | None = None,
        price: Price | None = None,
        corrections: int = 2,
    ) -> None:
        self.model = model or Client()
        self._instructions = (system(instructions),) if instructions else ()
        toolbox, settings = Toolbox(tools), settings or Settings()
        choice = settings.tool_choice
        if choice is not None and choice not in MODES and toolbox.spec(choice) is None:
            raise DefinitionError(f"tool_choice is {choice!r}, which is none of {', '.join(MODES)} and no tool's name")
        self._setup = Setup(
            self.model,
            toolbox,
            settings,
            name,
            tuple(limits),
            hooks or Hooks(),
            tracer,
            price,
            corrections,
        )

    @overload
    async def run(self, prompt: Prompt, *, session: Session | None = None, key: str | None = None) -> Run[str]: ...
    @overload
    async def run(
        self, prompt: Prompt, *, answer: type[A], session: Session | None = None, key: str | None = None
    ) -> Run[A]: ...
    @overload
    async def run(
        self, prompt: Prompt, *, answer: Mapping[str, object], session: Session | None = None, key: str | None = None
    ) -> Run[object]: ...

    async def run(
        self,
        prompt: Prompt,
        *,
        answer: type[A] | Mapping[str, object] | None = None,
        session: Session | None = None,
        key: str | None = None,
    ) -> Run[A]:
        """Work until there is an answer, in words or in the type `answer`.

        In a session whose last run did not end, the same prompt goes on with that run. With a `key` a program may be
        started again at any moment: the run of that key is gone on with, and if it is over, its answer is told again.

        Raises Stop (a limit, an answer
        that is cut or unfit), ServerError, StreamError, JournalError, DefinitionError.
        """
        return await self._go(prompt, answer_shape(answer), session, key)

    @overload
    async def resume(self, session: Session) -> Run[str]: ...
    @overload
    async def resume(self, session: Session, *, answer: type[A]) -> Run[A]: ...
    @overload
    async def resume(self, session: Session, *, answer: Mapping[str, object]) -> Run[object]: ...

    async def resume(self, session: Session, *, answer: type[A] | Mapping[str, object] | None = None) -> Run[A]:
        """Go on with the run of a session that did not end: a crash, a limit, a lost server. Raises as `run` does."""
        return await self._go(None, answer_shape(answer), session)

    @overload
    def stream(
        self, prompt: Prompt, *, session: Session | None = None, key: str | None = None
    ) -> AsyncGenerator[Event[str], None]: ...
    @overload
    def stream(
        self, prompt: Prompt, *, answer: type[A], session: Session | None = None, key: str | None = None
    ) -> AsyncGenerator[Event[A], None]: ...
    @overload
    def stream(
        self, prompt: Prompt, *, answer: Mapping[str, object], session: Session | None = None, key: str | None = None
    ) -> AsyncGenerator[Event[object], None]: ...

    def stream(
        self,
        prompt: Prompt,
        *,
        answer: type[A] | Mapping[str, object] | None = None,
        session: Session | None = None,
        key: str | None = None,
    ) -> AsyncGenerator[Event[A], None]:
        """The same, told as it happens; the last event is `RunEnded`. Closing it ends the run. Raises as `run` does."""
        shape = answer_shape(answer)
        return watched(lambda emit: self._go(prompt, shape, session, key, emit))

    @overload
    def run_sync(self, prompt: Prompt, *, session: Session | None = None, key: str | None = None) -> Run[str]: ...
    @overload
    def run_sync(
        self, prompt: Prompt, *, answer: type[A], session: Session | None = None, key: str | None = None
    ) -> Run[A]: ...
    @overload
    def run_sync(
        self, prompt: Prompt, *, answer: Mapping[str, object], session: Session | None = None, key: str | None = None
    ) -> Run[object]: ...

    def run_sync(
        self,
        prompt: Prompt,
        *,
        answer: type[A] | Mapping[str, object] | None = None,
        session: Session | None = None,
        key: str | None = None,
    ) -> Run[A]:
        """`run` for a program without an event loop. Raises as `run` does."""
        return in_own_loop(self._go(prompt, answer_shape(answer), session, key))

    @overload
    def resume_sync(self, session: Session) -> Run[str]: ...
    @overload
    def resume_sync(self, session: Session, *, answer: type[A]) -> Run[A]: ...
    @overload
    def resume_sync(self, session: Session, *, answer: Mapping[str, object]) -> Run[object]: ...

    def resume_sync(self, session: Session, *, answer: type[A] | Mapping[str, object] | None = None) -> Run[A]:
        """`resume` for a program without an event loop. Raises as `run` does."""
        return in_own_loop(self._go(None, answer_shape(answer), session))

    @overload
    def stream_sync(
        self, prompt: Prompt, *, session: Session | None = None, key: str | None = None
    ) -> Generator[Event[str], None, None]: ...
    @overload
    def stream_sync(
        self, prompt: Prompt, *, answer: type[A], session: Session | None = None, key: str | None = None
    ) -> Generator[Event[A], None, None]: ...
    @overload
    def stream_sync(
        self, prompt: Prompt, *, answer: Mapping[str, object], session: Session | None = None, key: str | None = None
    ) -> Generator[Event[object], None, None]: ...

    def stream_sync(
        self,
        prompt: Prompt,
        *,
        answer: type[A] | Mapping[str, object] | None = None,
        session: Session | None = None,
        key: str | None = None,
    ) -> Generator[Event[A], None, None]:
        """`stream` for a program without an event loop; it goes on while the next event is waited for.

        Raises as `run` does.
        """
        shape = answer_shape(answer)
        return stepped(watched(lambda emit: self._go(prompt, shape, session, key, emit)))

    async def _go(
        self,
        prompt: Prompt | None,
        shape: AnswerShape[A],
        session: Session | None,
        key: str | None = None,
        emit: Emit[A] | None = None,
    ) -> Run[A]:
        if session is None:
            return await self._alone(messages_of(prompt or ()), shape, key, emit)
        session.model = session.model or self.model
        journal = session.journal
        with journal.opened():
            if (run := finished_run(journal, key, shape)) is not None:
                if emit is not None:
                    await emit(RunEnded(run))
                return run
            async with self.model.opened():
                if prompt is None:
                    await reopen_run(self.model, session.id, journal, self._setup.toolbox)
                else:
                    await open_run(self.model, session.id, journal, self._instructions, messages_of(prompt), key)
                return await Loop(self._setup, shape, journal, session.id, emit).run()

    async def _alone(
        self, prompt: tuple[Message, ...], shape: AnswerShape[A], key: str | None, emit: Emit[A] | None
    ) -> Run[A]:
        if key is not None:
            raise DefinitionError("a run with a key needs a session, whose journal knows the key")
        journal = Journal()
        journal.write(Began(new_run_id(), (*self._instructions, *prompt)))
        async with self.model.opened():
            return await Loop(self._setup, shape, journal, emit=emit).run()
