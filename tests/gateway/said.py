"""A script that says given texts through the grammar of what was asked: an engine but for the model."""

from __future__ import annotations

from collections.abc import Iterator

from espalier.engine.errors import RequestError
from espalier.engine.messages import FinishReason, Generate, Output, PartEvent, Timings, Usage
from espalier.engine.part_text import PartTexts
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.scripted_client import Script
from espalier.grammar import Cursor, RejectedError, compile_grammar


def says(tokenizer: Tokenizer, *texts: str, budget: int | None = None) -> Script:
    """The n-th request gets the n-th text (the last one again and again), its markers read as special tokens.

    What the request's constraint does not allow is a RequestError about the field `said`. Only `budget` tokens are said
    of a text; the shortest completion is what the budget then closes it with.
    """
    left = list(texts)

    def script(request: Generate) -> Iterator[Output | Exception]:
        text = left.pop(0) if len(left) > 1 else left[0]
        tokens = tokenizer.encode(text, parse_special=True)
        if request.params.constraint is None:
            return _plain(tokenizer, request, tokens)
        grammar = compile_grammar(request.params.constraint, tokenizer.vocabulary, tokenizer.end_token_ids)
        return _constrained(grammar.start(), request, tokens[:budget], tokenizer.end_token_ids[0], budget is not None)

    return script


def _plain(tokenizer: Tokenizer, request: Generate, tokens: list[int]) -> Iterator[Output]:
    for at, token in enumerate(tokens):
        is_last = at == len(tokens) - 1
        usage = Usage(len(request.token_ids), 0, at + 1)
        reason: FinishReason | None = "stop" if is_last else None
        yield Output(request.request_id, tokenizer.decode([token]), [token], finish_reason=reason, usage=usage)


def _constrained(
    cursor: Cursor, request: Generate, tokens: list[int], end: int, is_cut: bool
) -> Iterator[Output | Exception]:
    try:
        yield from _outputs(cursor, request, tokens, end, is_cut)
    except RejectedError as error:
        yield RequestError(str(error), param="said")


def _outputs(cursor: Cursor, request: Generate, tokens: list[int], end: int, is_cut: bool) -> Iterator[Output]:
    has_parts, parts = _names_parts(cursor), PartTexts(request.params)
    num_said = len(tokens)
    if is_cut:
        other = cursor.copy()
        for token in tokens:
            other.accept(token)
        tokens = [*tokens, *other.completion_tokens()]
    for at, token in enumerate([*tokens, end], 1):
        by_budget = is_cut and at > num_said
        events = cursor.accept(token)
        stop = parts.feed(events, at, by_budget=by_budget)
        is_last = token == end
        if is_last and stop is None:
            stop = parts.finish(cursor.unsettled(), at, by_budget=by_budget)
        told: tuple[PartEvent, ...] = parts.take()
        yield Output(
            request.request_id,
            text="" if has_parts else b"".join(getattr(event, "text", b"") for event in events).decode(),
            token_ids=[token],
            finish_reason=("length" if by_budget else "stop") if is_last or stop is not None else None,
            stop_reason=stop,
            usage=Usage(len(request.token_ids), 0, at),
            timings=Timings() if is_last else None,
            closed_by_budget=by_budget and is_last,
            parts=told,
        )
        if stop is not None:
            return


def _names_parts(cursor: Cursor) -> bool:
    copy = cursor.copy()
    events = [event for token in copy.completion_tokens() for event in copy.accept(token)] + [*copy.unsettled()]
    return any(getattr(event, "part", None) is not None for event in events)
