"""Runs the model over a step's plan: tells it what lies where, and takes the recorded way where there is one."""

from __future__ import annotations

import torch
from torch import Tensor

from espalier.engine.batch_builder import BatchBuilder
from espalier.engine.kv_pool import KVPool
from espalier.engine.loader import Loaded
from espalier.engine.model import CausalLM
from espalier.engine.scheduler import Scheduler
from espalier.engine.step_graph import SIZES, CudaRecorder, StepGraphs, can_record
from espalier.engine.work import Work, logit_rows

LONGEST_RUN = 64
"""Tokens of one request up to which they are computed one by one; more are computed as a piece of a prompt, together.

Token by token, attention reads a history once for each of them.
"""


class Runner:
    """`moved_rows` are rows of the slot table in which more has changed than the slots of a step's new tokens; those
    that the device was told of are taken out. `graphs` is None where nothing was recorded.
    """

    def __init__(
        self, model: CausalLM, kv: KVPool, builder: BatchBuilder, moved_rows: set[int], graphs: StepGraphs | None
    ) -> None:
        self._model, self._kv, self._builder, self._moved, self._graphs = model, kv, builder, moved_rows, graphs

    @torch.inference_mode()
    def logits(self, plan: list[Work]) -> Tensor:
        """Logits float32 [R, V] of the tokens that `logit_rows` names."""
        if self._graphs is not None and self._is_short(plan, self._graphs):
            return self._model.head(self._replay(plan, self._graphs))
        return self._model.forward(self._builder.build(plan), self._kv)

    @torch.inference_mode()
    def hidden(self, plan: list[Work]) -> Tensor:
        """Hidden states [R, H] behind the final norm of the tokens that `logit_rows` names."""
        if self._graphs is not None and self._is_short(plan, self._graphs):
            return self._replay(plan, self._graphs)
        return self._model.hidden(self._builder.build(plan), self._kv)

    def _is_short(self, plan: list[Work], graphs: StepGraphs) -> bool:
        counts = [work.end - work.begin for work in plan]
        return max(counts) <= LONGEST_RUN and graphs.holds(sum(counts))

    def _replay(self, plan: list[Work], graphs: StepGraphs) -> Tensor:
        if self._moved:
            self._builder.send_rows([work for work in plan if work.sequence.row in self._moved])
            self._moved.difference_update(work.sequence.row for work in plan)
        hidden_th = graphs.hidden(self._builder.tokens(plan))
        wanted = logit_rows(plan)
        if len(wanted) == len(hidden_th):
            return hidden_th
        return hidden_th[torch.from_numpy(wanted).to(hidden_th.device, non_blocking=True)]


def make_runner(loaded: Loaded, scheduler: Scheduler, *, cuda_graphs: bool) -> Runner:
    """A runner over a scheduler's slot table; on a GPU the steps of few tokens are recorded now, unless told not to."""
    model, kv, table = loaded.model, loaded.kv, scheduler.placement.table
    builder = BatchBuilder(table, loaded.device, kv.spare_slot)
    graphs = None
    if cuda_graphs and loaded.device == "cuda" and can_record(model):
        graphs = StepGraphs(model, kv, builder.slot_table, CudaRecorder(), SIZES)
    return Runner(model, kv, builder, scheduler.placement.moved_rows, graphs)
