"""The engine: takes requests, computes a step for all of them at once, gives back what each step added.

A plain object without threads or sockets: whoever holds it calls `step`.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from espalier.engine.answer import Answer
from espalier.engine.canonical import MOST_CONTEXT
from espalier.engine.chooser import Chooser
from espalier.engine.errors import (
    BlockedError,
    ContextOverflowError,
    EngineError,
    NanLogitsError,
    OverloadedError,
    RequestError,
)
from espalier.engine.forward import Flight, Forward
from espalier.engine.guides import Guides
from espalier.engine.loader import Loaded, load
from espalier.engine.messages import Generate, Output, Ready, SessionNote, Stats, StepOutputs
from espalier.engine.options import EngineOptions
from espalier.engine.output_head import OutputHead
from espalier.engine.prefill_meter import PrefillMeter
from espalier.engine.runner import make_runner
from espalier.engine.sampler import Drawn, Sampler
from espalier.engine.sampling_params import check
from espalier.engine.scheduler import Limits, Scheduler
from espalier.engine.scores import Scores
from espalier.engine.sequence import Sequence
from espalier.engine.step_graph import can_record
from espalier.engine.tier_setup import make_tiers
from espalier.engine.work import Work
from espalier.engine.workshop import Preparation

log = logging.getLogger("espalier.engine")

STEP_TOKENS = {"cpu": 128, "cuda": 4096}
NAN = "the model gave logits that are no numbers"
BLOCKED = "no token is left: what the constraint allows here, min_tokens and logit_bias ban"


@dataclass(slots=True)
class _Counts:
    step: int = 0
    arrivals: int = 0
    generated: int = 0
    forced: int = 0
    failed: int = 0


@dataclass(slots=True)
class _Running:
    sequence: Sequence
    answer: Answer


class Engine:
    """Serves one model. `clock` gives seconds; `poison_freed` fills freed KV with NaN, to show who reads it;
    `runs_ahead`, that a step is launched before the last one is told, is what suits the device where it is None.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        loaded: Loaded | None = None,
        sampler: Sampler | None = None,
        clock: Callable[[], float] = time.monotonic,
        poison_freed: bool = False,
        runs_ahead: bool | None = None,
    ) -> None:
        self.options, self._clock = options, clock
        self._loaded = loaded or load(options)
        sizes = self._loaded.fit
        self.tokenizer = self._loaded.tokenizer
        self.max_context, self.vocab_size = sizes.max_context, self._loaded.model.config.vocab_size
        self.scheduler = Scheduler(
            Limits(
                num_slots=sizes.num_slots,
                max_context=sizes.max_context,
                max_running=sizes.max_running,
                step_tokens=options.step_tokens or STEP_TOKENS[self._loaded.device],
                admission=options.admission,
                batching=options.batching,
                prefix_cache=options.prefix_cache,
                eviction=options.eviction,
                lease_tokens=int(options.lease_share * sizes.num_slots) if options.prefix_cache else 0,
                tenant_lease_tokens=_share_of(options.tenant_lease_share, sizes.num_slots),
                patience_s=options.lease_patience_s,
            )
        )
        self._meter = PrefillMeter()
        self._tiers = make_tiers(options, self._loaded, self.scheduler.tree, clock)
        if self._tiers is not None:
            self.scheduler.attach(self._tiers)
        runner = make_runner(self._loaded, self.scheduler, cuda_graphs=options.cuda_graphs)
        self._end_token_ids = frozenset(self.tokenizer.end_token_ids)
        vocabulary = self.tokenizer.vocabulary
        self._chooser = Chooser(sampler or Sampler(tuple(sorted(self._end_token_ids))), vocabulary.num_words)
        self._head = OutputHead(self._loaded.model, self._loaded.device)
        self._guides = Guides(self.tokenizer, options)
        # A device can only run ahead where nothing in a launch waits for it.
        on_gpu = self._loaded.device == "cuda" and can_record(self._loaded.model)
        self._runs_ahead = on_gpu if runs_ahead is None else runs_ahead
        # Drawing in turns costs a GPU more than the steps that it spares.
        self._drafts = options.drafts and not self._runs_ahead and self._loaded.device == "cpu"
        self._forward = Forward(
            runner,
            self._head,
            self._chooser,
            self._loaded.kv,
            sparse_head=options.sparse_head,
            runs_ahead=self._runs_ahead,
            free_slots=self.scheduler.slots.free_slots if poison_freed else None,
        )
        self._flight: Flight | None = None
        self._running: dict[str, _Running] = {}
        # Those that have grown in this step and not yet told it, and what is to be told before that.
        self._grown: dict[str, _Running] = {}
        self._ready_outputs: deque[Output] = deque()
        self._counts = _Counts()

    def preparation(self, request: Generate) -> Preparation | None:
        """What `submit` would take long for, which may be done before it in short turns; None if nothing."""
        return self._guides.preparation(request)

    def submit(self, request: Generate) -> None:
        """Queue a request. Raises RequestError if it can't be served as asked, OverloadedError if too many wait."""
        self._tell_ended(request.request_id)
        if request.request_id in self._running:
            raise RequestError(f"a request {request.request_id!r} is running already", param="request_id")
        if len(self.scheduler.waiting) >= self.options.max_waiting:
            raise OverloadedError(f"{self.options.max_waiting} requests are waiting; try again later")
        check(request.params, self.vocab_size)
        max_len = self._max_len(request)
        guide = self._guides.of(request, max_len - len(request.token_ids))
        seed = request.params.seed if request.params.seed is not None else secrets.randbits(63)
        self._counts.arrivals += 1
        sequence = Sequence(
            request, max_len=max_len, seed=seed % 2**64, arrival=self._counts.arrivals, now_s=self._clock(), guide=guide
        )
        ends = frozenset() if request.params.ignore_eos else self._end_token_ids
        running = _Running(sequence, Answer(sequence, self.tokenizer, ends))
        self._jump(running)
        if running.answer.is_over:
            self._guides.measure(guide)
            self._ready_outputs.append(running.answer.tell(self._clock()))
            return
        self._running[request.request_id] = running
        self.scheduler.add(sequence)

    def abort(self, request_id: str) -> None:
        """End a request; its slots are free at once. The next step gives its last output, or the one whose `arrivals`
        this is called from. Unknown ids are ignored.
        """
        running = self._running.pop(request_id, None)
        if running is None:
            return
        self._grown.pop(request_id, None)
        under_way = self._slots_under_way(running.sequence)
        self._finish(running.sequence, is_turn=False)
        # What the device is writing there is in no tree, where a session's deletion would find it.
        self._erase(under_way)
        self._ready_outputs.append(running.answer.end("abort", self._clock()))

    def note(self, note: SessionNote) -> None:
        """Heed what is told of a session; one that is not known is ignored."""
        try:
            deleted = self.scheduler.note(note, self._clock())
        except ValueError:
            log.exception("note refused", extra={"event": "note_refused"})
            return
        self._erase(deleted)

    def expire(self) -> None:
        """End what is over, as each step does."""
        self.scheduler.expire(self._clock())

    def close(self) -> None:
        """Finish what is being written, and end; nothing may be asked of it afterwards."""
        if self._tiers is not None:
            self._tiers.close()

    def has_work(self) -> bool:
        """Whether `step` would do anything."""
        return bool(self._running or self._grown or self._ready_outputs)

    def step(self, arrivals: Callable[[], None] | None = None) -> StepOutputs:
        """Compute one step: decode tokens of all running requests and chunks of prompts.

        `arrivals` is called just before a step is planned, to submit what has come meanwhile. Where a device runs
        ahead, that is the next one: it is under way when this returns, so that outputs are sent while it is computed.
        """
        flight, self._flight = self._flight, None
        if flight is not None and not flight.is_wanted:
            flight = None
        flight = flight or self._launch(arrivals)
        if self._runs_ahead:
            self.scheduler.reserve()
        plan, took_s = self._land(flight)
        if self._runs_ahead and (self.scheduler.running or self.scheduler.waiting):
            self._flight = self._launch(arrivals)
        if flight.was_waited_for:
            self._measure(plan, took_s)
        for request_id in list(self._grown):
            self._tell(request_id)
        outputs = list(self._ready_outputs)
        self._ready_outputs.clear()
        self._counts.step += 1
        return StepOutputs(outputs, self.stats())

    def stats(self) -> Stats:
        """Gauges and totals as of now."""
        scheduler, totals = self.scheduler, self.scheduler.totals
        below = {"host": 0, "disk": 0} if self._tiers is None else self._tiers.num_tokens
        return Stats(
            step=self._counts.step,
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
            slots_total=scheduler.limits.num_slots,
            slots_used=scheduler.limits.num_slots - scheduler.slots.num_free,
            slots_cached=scheduler.tree.num_evictable,
            prompt_tokens=totals.prompt_tokens,
            cached_tokens=totals.cached_tokens,
            computed_tokens=totals.computed_tokens,
            generated_tokens=self._counts.generated,
            forced_tokens=self._counts.forced,
            drafted_tokens=totals.drafted_tokens,
            confirmed_tokens=totals.confirmed_tokens,
            redrawn_tokens=self._chooser.num_redrawn,
            sparse_rows=self._head.num_sparse,
            preemptions=totals.preemptions,
            failed=self._counts.failed,
            prefill_tokens_per_s=self._meter.tokens_per_s,
            evicted_tokens=scheduler.tree.num_evicted,
            leases=scheduler.tips.num_leases,
            slots_leased=scheduler.tree.num_leased,
            leases_demoted=scheduler.tips.totals.demoted,
            host_tokens=below["host"],
            disk_tokens=below["disk"],
            loaded_tokens=totals.loaded_tokens,
        )

    def ready(self) -> Ready:
        """What the model is and what fits."""
        sizes = self._loaded.fit
        return Ready(
            model=self.options.model,
            max_context=sizes.max_context,
            vocab_size=self.vocab_size,
            num_slots=sizes.num_slots,
            max_running=sizes.max_running,
            fit=sizes.rows(),
        )

    def _measure(self, plan: list[Work], took_s: float) -> None:
        """Learn what a prompt token costs."""
        total = sum(work.end - work.begin for work in plan)
        prompt = sum(max(0, min(work.end, work.sequence.prompt_len) - work.begin) for work in plan)
        self._meter.add(prompt, total - prompt, took_s)
        if (cost := self._meter.cost) is not None:
            self.scheduler.tips.cost = cost

    def _max_len(self, request: Generate) -> int:
        prompt_len, asked = len(request.token_ids), request.params.max_tokens
        if not prompt_len:
            raise RequestError("the prompt is empty; at least one token is needed", param="prompt")
        for token_id in request.token_ids:
            if not 0 <= token_id < self.vocab_size:
                raise RequestError(
                    f"the prompt holds token {token_id}; the vocabulary ends at {self.vocab_size - 1}", param="prompt"
                )
        if prompt_len >= self.max_context or prompt_len + (asked or 1) > self.max_context:
            raise ContextOverflowError(
                f"the context holds {self.max_context} tokens; the prompt has {prompt_len}"
                + (f" and max_tokens asks for {asked}" if asked else "")
                + f". Shorten the prompt or ask for at most {max(0, self.max_context - prompt_len)} tokens.",
                param="max_tokens" if prompt_len < self.max_context else "messages",
            )
        return prompt_len + asked if asked else self.max_context

    def _jump(self, running: _Running) -> None:
        """Append what the grammar forces now."""
        sequence = running.sequence
        if sequence.guide is None or sequence.guide.is_open or running.answer.is_over:
            return
        before = sequence.ids(max(0, sequence.length - MOST_CONTEXT), sequence.length)
        forced = sequence.guide.jump(before, sequence.max_len - sequence.length)
        num_forced = running.answer.force(forced)
        self._counts.forced += num_forced
        self._counts.generated += num_forced
        if self._drafts and not running.answer.is_over:
            drafts = sequence.guide.draft(int(sequence.tokens[sequence.length - 1]))
            sequence.draft(drafts[: sequence.max_len - sequence.length - 1])

    def _tell(self, request_id: str) -> None:
        """Have told what a request that has grown has to tell."""
        self._ready_outputs.append(self._grown.pop(request_id).answer.tell(self._clock()))

    def _tell_ended(self, request_id: str) -> None:
        """The same of one that is over, before another takes its name."""
        if request_id in self._grown and request_id not in self._running:
            self._tell(request_id)

    def _slots_under_way(self, sequence: Sequence) -> NDArray[np.int32]:
        """The slots that the step under way writes for a sequence."""
        for work in () if self._flight is None else self._flight.plan:
            if work.sequence is sequence:
                return self.scheduler.placement.table[sequence.row, work.begin : work.end].copy()
        return np.empty(0, dtype=np.int32)

    def _erase(self, slots: NDArray[np.int32]) -> None:
        if len(slots):
            self._loaded.kv.erase(torch.from_numpy(slots).long().to(self._loaded.device, non_blocking=True))

    def _launch(self, arrivals: Callable[[], None] | None) -> Flight:
        """Plan the next step, and let the device begin."""
        if arrivals is not None:
            arrivals()
        now = self._clock()
        plan = self.scheduler.schedule(now)
        try:
            return self._forward.launch(plan, now)
        except Exception:
            self._log_failure(plan)
        return Flight(plan, now)

    def _land(self, flight: Flight) -> tuple[list[Work], float]:
        """Get a step's tokens, add them to their requests and end those that are done.

        Returns what was computed, and how long that took.
        """
        flight, drawn, scores = self._compute(flight)
        took_s = self._clock() - flight.began_s
        # What is of nobody any more was aborted while it was computed.
        self.scheduler.advance([work for work in flight.plan if work.is_wanted])
        for work, result in zip(flight.wanting, drawn, strict=True):
            if work.is_wanted:
                self._settle(work.sequence, result)
        if scores is not None:
            self._follow(scores)
        return flight.plan, took_s

    def _compute(self, flight: Flight) -> tuple[Flight, list[Drawn], Scores | None]:
        """Compute a step; where the batch as a whole fails, each alone, so that only the culprit ends."""
        if self._runs_ahead and not flight.is_launched:
            # Rows of those that were aborted since it was planned may be others'.
            flight = Flight([work for work in flight.plan if work.is_wanted], flight.began_s)
        try:
            return flight, *self._forward.land(flight)
        except Exception:
            self._log_failure(flight.plan)
        computed: list[Work] = []
        drawn: list[Drawn] = []
        for work in flight.plan:
            if not work.is_wanted:
                continue
            alone = work.without_drafts()
            try:
                drawn += self._forward.land(Flight([alone], flight.began_s))[0]
                computed.append(alone)
            except Exception as error:
                self._fail(work.sequence, error)
        return Flight(computed, flight.began_s), drawn, None

    def _log_failure(self, plan: list[Work]) -> None:
        log.exception("step failed", extra={"event": "step_failed", "requests": len(plan)})

    def _settle(self, sequence: Sequence, result: Drawn) -> None:
        """Add a drawn token to its request, which is then among those that have grown unless it fails."""
        running = self._running[sequence.request_id]
        try:
            if not result.is_valid:
                raise BlockedError(BLOCKED) if result.is_blocked else NanLogitsError(NAN)
            self._take(running, result)
        except Exception as error:
            self._fail(sequence, error)
            return
        self._grown[sequence.request_id] = running
        if running.answer.is_over:
            del self._running[sequence.request_id]
            self._finish(sequence)

    def _follow(self, scores: Scores) -> None:
        """Where what was drafted came, draw what follows it, too: it was computed in the same step."""
        leads = scores.leads()
        while leads:
            running = [lead for lead in leads if lead.work.sequence.request_id in self._running]
            came = [lead.followed(self.scheduler.confirm(lead.work)) for lead in running]
            leads = [lead for lead in came if lead is not None]
            sequences = [lead.work.sequence for lead in leads]
            try:
                with torch.inference_mode():
                    drawn = scores.behind(leads)
            except Exception:
                # The next step finds out whose fault it was.
                requests = [sequence.request_id for sequence in sequences]
                log.exception("drafts were not followed", extra={"event": "drafts_failed", "requests": requests})
                for sequence in sequences:
                    self.scheduler.step_back(sequence)
                return
            for sequence, result in zip(sequences, drawn, strict=True):
                self._settle(sequence, result)

    def _take(self, running: _Running, drawn: Drawn) -> None:
        """Add a drawn token to its request, and what its grammar forces after it."""
        if running.sequence.guide is not None:
            running.sequence.guide.take()
        running.answer.draw(drawn)
        self._counts.generated += 1
        self._jump(running)

    def _finish(self, sequence: Sequence, *, keep: bool = True, is_turn: bool = True) -> None:
        """A request is over: its slots are free, and what was found out about its grammar is counted."""
        self.scheduler.finish(sequence, keep=keep, is_turn=is_turn)
        self._guides.measure(sequence.guide)

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        """End one request with an error; nothing that it computed is used again."""
        log.error(
            "request failed", extra={"event": "request_failed", "request_id": sequence.request_id}, exc_info=error
        )
        self._counts.failed += 1
        running = self._running.pop(sequence.request_id)
        self._grown.pop(sequence.request_id, None)
        if isinstance(error, NanLogitsError):
            # Nor what it found in the tree: that may be at fault, kept by those that held it when its maker failed.
            sequence.inserted_len = sequence.shared_len
        self._finish(sequence, keep=False)
        code = error.code if isinstance(error, EngineError) else EngineError.code
        message = str(error) if isinstance(error, EngineError) else "the engine failed on this request"
        self._ready_outputs.append(running.answer.end("error", self._clock(), code=code, message=message))


def _share_of(share: float | None, num_slots: int) -> int | None:
    return None if share is None else int(share * num_slots)
