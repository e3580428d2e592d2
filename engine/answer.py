"""The answer to one request as it grows: its text, where it stops, and the output that each step makes."""

from __future__ import annotations

from collections.abc import Sequence as Row

from espalier.engine.atlas import Told
from espalier.engine.detokenize import Detokenizer
from espalier.engine.messages import FinishReason, Output, Timings, TokenLogprob, Usage
from espalier.engine.part_text import PartTexts
from espalier.engine.sampler import Drawn
from espalier.engine.sequence import Sequence
from espalier.engine.stop import StopMatcher
from espalier.engine.tokenizer import Tokenizer


class Answer:
    """Appends tokens to its sequence and makes outputs of them; `end_token_ids` are the model's own ends."""

    __slots__ = (
        "_detokenizer",
        "_end_token_ids",
        "_logprobs",
        "_matcher",
        "_parts",
        "_reason",
        "_sequence",
        "_stop",
        "_stop_token_ids",
        "_text",
        "_token_ids",
    )

    def __init__(self, sequence: Sequence, tokenizer: Tokenizer, end_token_ids: frozenset[int]) -> None:
        params = sequence.params
        self._sequence = sequence
        self._end_token_ids, self._stop_token_ids = end_token_ids, frozenset(params.stop_token_ids)
        self._detokenizer = Detokenizer(tokenizer.text_bytes(skip_special=params.skip_special_tokens))
        self._matcher = StopMatcher(params.stop, include=params.include_stop_text) if params.stop else None
        has_parts = sequence.guide is not None and sequence.guide.has_parts
        self._parts = PartTexts(params) if has_parts else None
        # Since the last output.
        self._text: list[str] = []
        self._token_ids: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._reason: FinishReason | None = None
        self._stop: str | int | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing may be added any more."""
        return self._reason is not None

    def draw(self, drawn: Drawn) -> None:
        """Append a token that was drawn."""
        if drawn.logprob is not None:
            self._logprobs.append(drawn.logprob)
        self._append(drawn.token_id, is_drawn=True)

    def force(self, token_ids: Row[int]) -> int:
        """Append tokens that the grammar forced, up to where the answer ends; returns how many those are."""
        before = self._sequence.length
        for token_id in token_ids:
            if self._reason is None:
                self._append(token_id, is_drawn=False)
        guide = self._sequence.guide
        if self._reason is None and guide is not None and guide.is_over:
            self._reason = "stop"
        return self._sequence.length - before

    def tell(self, now_s: float) -> Output:
        """The output of what was added since the last one."""
        sequence, guide = self._sequence, self._sequence.guide
        if sequence.first_token_s < 0:
            sequence.first_token_s = now_s
        self._read_all()
        if self._reason is not None and not isinstance(self._stop, str):
            self._finish()
        reason, text = self._reason, "".join(self._text)
        is_closed = reason is not None and self._stop is None and guide is not None and guide.is_closed_by_budget
        output = Output(
            request_id=sequence.request_id,
            text=text,
            token_ids=self._token_ids,
            logprobs=None if sequence.params.logprobs is None else self._logprobs,
            finish_reason=sequence.params.closed_by_budget_as if is_closed else reason,
            stop_reason=self._stop,
            closed_by_budget=is_closed,
            usage=self._usage(),
            timings=None if reason is None else self._timings(now_s),
            missed=None if reason is None else sequence.missed(),
            parts=() if self._parts is None else self._parts.take(),
        )
        self._text, self._token_ids, self._logprobs = [], [], []
        return output

    def end(self, reason: FinishReason, now_s: float, *, code: str | None = None, message: str | None = None) -> Output:
        """The last output of a request that ends without a token: aborted, or failed with `code` and `message`."""
        self._read_all()
        self._finish()
        return Output(
            request_id=self._sequence.request_id,
            text="".join(self._text),
            token_ids=self._token_ids,
            logprobs=self._logprobs or None,
            finish_reason=reason,
            usage=self._usage(),
            timings=self._timings(now_s),
            missed=self._sequence.missed(),
            error_code=code,
            error_message=message,
            parts=() if self._parts is None else self._parts.take(),
        )

    def _append(self, token_id: int, *, is_drawn: bool) -> None:
        sequence = self._sequence
        sequence.append(token_id, is_drawn=is_drawn)
        self._token_ids.append(token_id)
        is_end = token_id in self._end_token_ids
        parts = self._parts
        told = () if parts is None else self._told()
        if token_id in self._stop_token_ids and not is_end:
            # None is drawn before min_tokens, but one may be forced.
            may_stop = sequence.num_generated > sequence.params.min_tokens
            if may_stop and (parts is None or parts.is_searched(told)):
                self._reason, self._stop = "stop", token_id
                return
        if parts is not None:
            self._stop = self._read_parts(parts, told)
        elif self._matcher is not None and not is_end:
            self._stop = self._read(token_id, self._matcher)
        if is_end or self._stop is not None:
            self._reason = "stop"
        elif sequence.length >= sequence.max_len:
            # An answer that nothing may follow has ended by itself, if with its last token.
            is_over = sequence.guide is not None and sequence.guide.is_over
            self._reason = "stop" if is_over else "length"

    def _read(self, token_id: int, matcher: StopMatcher) -> str | None:
        """Add a token's text; the stop string that it completes."""
        text, stop = self._detokenizer.feed_one(token_id), None
        if self._sequence.num_generated > self._sequence.params.min_tokens:
            text, stop = matcher.feed(text)
        self._text.append(text)
        return stop

    def _read_all(self) -> None:
        """Add the text of what was added, where nobody had to read it before: no stop string ends it, no part."""
        if self._parts is not None or self._matcher is not None or not self._token_ids:
            return
        # What ended the answer is no text of it.
        is_mute = self._stop is not None or self._token_ids[-1] in self._end_token_ids
        self._text.append(self._detokenizer.feed(self._token_ids[:-1] if is_mute else self._token_ids))

    def _told(self) -> Told:
        """What the constraint, which names parts, says that the next token is."""
        guide = self._sequence.guide
        assert guide is not None
        return guide.told()

    def _read_parts(self, parts: PartTexts, told: Told) -> str | None:
        """The same by what the constraint says that the token is; an end token may settle what was open."""
        guide = self._sequence.guide
        assert guide is not None
        return parts.feed(told, self._sequence.num_generated, by_budget=guide.is_closed_by_budget)

    def _finish(self) -> None:
        """Tell what was held back: nothing follows that could change it."""
        if self._parts is None:
            # What the matcher held comes before what the detokenizer still has.
            held = "" if self._matcher is None else self._matcher.flush()
            self._text.append(held + self._detokenizer.flush())
            return
        guide = self._sequence.guide
        assert guide is not None
        open_events = () if self._stop is not None else guide.unsettled()  # a stop token is in there, too
        stop = self._parts.finish(open_events, self._sequence.num_generated, by_budget=guide.is_closed_by_budget)
        self._stop = self._stop if stop is None else stop

    def _usage(self) -> Usage:
        sequence = self._sequence
        # What a grammar forces behind the prompt before its first token may be in the tree, too.
        cached = min(max(0, sequence.cached_tokens), sequence.prompt_len)
        host = sequence.loaded_tokens if sequence.loaded_from == "host" else 0
        disk = sequence.loaded_tokens if sequence.loaded_from == "disk" else 0
        # Who was preempted may have written some of it twice.
        written = min(sequence.written_tokens, sequence.prompt_len - cached)
        return Usage(sequence.prompt_len, cached, sequence.num_generated, 0, host, disk, written)

    def _timings(self, now_s: float) -> Timings:
        sequence = self._sequence
        admitted = sequence.first_admitted_s if sequence.first_admitted_s >= 0 else now_s
        first = sequence.first_token_s if sequence.first_token_s >= 0 else now_s
        return Timings(
            queue_s=admitted - sequence.arrived_s,
            first_token_s=first - sequence.arrived_s,
            total_s=now_s - sequence.arrived_s,
            preemptions=sequence.preemptions,
        )
