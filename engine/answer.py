"""The answer to one request as it grows: its text, where it stops, and the output that each token makes."""

from __future__ import annotations

from espalier.engine.detokenize import Detokenizer
from espalier.engine.messages import FinishReason, Output, Timings, Usage
from espalier.engine.sampler import Drawn
from espalier.engine.sequence import Sequence
from espalier.engine.stop import StopMatcher
from espalier.engine.tokenizer import Tokenizer


class Answer:
    """Turns drawn tokens into outputs; `end_token_ids` are the model's own ends, empty with ignore_eos."""

    __slots__ = ("_detokenizer", "_end_token_ids", "_matcher", "_sequence", "_stop_token_ids")

    def __init__(self, sequence: Sequence, tokenizer: Tokenizer, end_token_ids: frozenset[int]) -> None:
        params = sequence.params
        self._sequence = sequence
        self._end_token_ids, self._stop_token_ids = end_token_ids, frozenset(params.stop_token_ids)
        self._detokenizer = Detokenizer(tokenizer.text_bytes(skip_special=params.skip_special_tokens))
        self._matcher = StopMatcher(params.stop, include=params.include_stop_text)

    def add(self, drawn: Drawn, now_s: float) -> Output:
        """The output of a token that was just appended to the sequence."""
        sequence, token_id = self._sequence, drawn.token_id
        if sequence.first_token_s < 0:
            sequence.first_token_s = now_s
        reason: FinishReason | None = None
        stop: str | int | None = None
        text = ""
        if token_id in self._end_token_ids or token_id in self._stop_token_ids:
            reason, stop = "stop", None if token_id in self._end_token_ids else token_id
        else:
            text = self._detokenizer.feed((token_id,))
            if sequence.num_generated > sequence.params.min_tokens:
                text, stop = self._matcher.feed(text)
                reason = "stop" if stop is not None else None
        if reason is None and sequence.length >= sequence.max_len:
            reason = "length"
        if reason is not None and not isinstance(stop, str):
            text += self._rest()
        return Output(
            request_id=sequence.request_id,
            text=text,
            token_ids=[token_id],
            logprobs=None if drawn.logprob is None else [drawn.logprob],
            finish_reason=reason,
            stop_reason=stop,
            usage=self._usage(),
            timings=None if reason is None else self._timings(now_s),
        )

    def end(self, reason: FinishReason, now_s: float, *, code: str | None = None, message: str | None = None) -> Output:
        """The last output of a request that ends without a token: aborted, or failed with `code` and `message`."""
        return Output(
            request_id=self._sequence.request_id,
            text=self._rest(),
            finish_reason=reason,
            usage=self._usage(),
            timings=self._timings(now_s),
            error_code=code,
            error_message=message,
        )

    def _rest(self) -> str:
        # What the matcher held comes before what the detokenizer still has; nothing can stop it any more.
        return self._matcher.flush() + self._detokenizer.flush()

    def _usage(self) -> Usage:
        sequence = self._sequence
        return Usage(sequence.prompt_len, max(0, sequence.cached_tokens), sequence.num_generated)

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
