"""From a step's plan to the tokens that are drawn: the model's pass, the logits that are wanted of it, the draw.

In two halves, so that a device that runs ahead computes while the host does something else: what `launch` has told it
is under way until `land` asks for the tokens. Elsewhere all is computed when it lands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from espalier.engine.chooser import Chooser, few_of
from espalier.engine.kv_pool import KVPool
from espalier.engine.output_head import Group, OutputHead
from espalier.engine.runner import Runner
from espalier.engine.sampler import Drawn
from espalier.engine.scores import Scores
from espalier.engine.work import Work


@dataclass(slots=True)
class Flight:
    """A plan under way since `began_s`: the device computes hidden states or logits of it, or nothing yet.

    `wanting` are the works that a token is drawn after; `computed` comes to pass on a GPU when it is through. If it was
    through before it landed, it was not waited for, and how long it took is not known.
    """

    plan: list[Work]
    began_s: float
    hidden: Tensor | None = None
    logits: Tensor | None = None
    computed: torch.cuda.Event | None = None
    was_waited_for: bool = True
    wanting: list[Work] = field(init=False)

    def __post_init__(self) -> None:
        self.wanting = [work for work in self.plan if work.wants_logits]

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits for it: requests may be aborted meanwhile."""
        return any(work.is_wanted for work in self.plan)

    @property
    def is_launched(self) -> bool:
        """Whether the device was told of it."""
        return self.hidden is not None or self.logits is not None

    @property
    def num_rows(self) -> int:
        """Rows of logits that are wanted."""
        return sum(1 + len(work.drafts) for work in self.wanting)


class Forward:
    """`runs_ahead`: the device computes on while the host does something else. `free_slots`, if given, tells which
    slots nobody may read: they are filled with NaN before each pass.
    """

    def __init__(
        self,
        runner: Runner,
        head: OutputHead,
        chooser: Chooser,
        kv: KVPool,
        *,
        sparse_head: bool,
        runs_ahead: bool,
        free_slots: Callable[[], NDArray[np.int32]] | None = None,
    ) -> None:
        self._runner, self._head, self._chooser, self._kv = runner, head, chooser, kv
        self._sparse_head, self._runs_ahead, self._free_slots = sparse_head, runs_ahead, free_slots

    @torch.inference_mode()
    def launch(self, plan: list[Work], now_s: float) -> Flight:
        """Let the device begin, if it runs ahead; slots, rows and tokens of the plan are read now."""
        flight = Flight(plan, now_s)
        if plan and self._runs_ahead:
            self._poison()
            # Before anybody asks for a mask, and so before it is known which rows allow few tokens.
            if self._may_be_sparse(flight):
                flight.hidden = self._runner.hidden(plan)
            else:
                flight.logits = self._runner.logits(plan)
            if self._kv.storage_k.is_cuda:
                flight.computed = torch.cuda.Event()
                flight.computed.record()
        return flight

    @torch.inference_mode()
    def land(self, flight: Flight) -> tuple[list[Drawn], Scores | None]:
        """The first token of each work that wants one, and the scores if there are drafts."""
        wanting = flight.wanting
        flight.was_waited_for = flight.computed is None or not flight.computed.query()
        scores = Scores(self._chooser, self._groups(flight), wanting)
        # Or what was computed would take its memory until the next step is under way.
        flight.hidden = flight.logits = None
        return scores.first() if wanting else [], scores if any(work.drafts for work in wanting) else None

    def _groups(self, flight: Flight) -> list[Group]:
        plan, hidden = flight.plan, flight.hidden
        if not plan:
            return []
        if not flight.is_launched:
            self._poison()
        rows = list(range(flight.num_rows))
        if hidden is not None or (flight.logits is None and self._may_be_sparse(flight)):
            few = few_of(flight.wanting, all_or_none=self._head.is_all_or_none)
            if sparse := self._head.pays(few):
                return self._head.groups(self._runner.hidden(plan) if hidden is None else hidden, few, sparse)
            if hidden is not None:
                return [Group(rows, self._head.whole(hidden))]
        return [Group(rows, self._runner.logits(plan) if flight.logits is None else flight.logits)]

    def _may_be_sparse(self, flight: Flight) -> bool:
        """Whether some rows may need only few logits, as far as it is known without asking their grammars."""
        is_guided = any(work.sequence.guide is not None for work in flight.wanting)
        return self._sparse_head and is_guided and self._head.may_pay(flight.num_rows)

    def _poison(self) -> None:
        if self._free_slots is not None:
            self._kv.poison(torch.from_numpy(self._free_slots()).long().to(self._kv.storage_k.device))
