"""The benchmark of sampling: what it hands to each who samples, on the CPU and small."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples" / "bench" / "kernels"
ROWS, VOCABULARY = 40, 3000


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "sampling", raising=False)
    return importlib.import_module("sampling")


def test_each_workload_draws_from_what_its_settings_keep(bench: ModuleType) -> None:
    for workload in bench.WORKLOADS:
        random = torch.Generator().manual_seed(1)
        logits = bench.make_logits(workload.logits, ROWS, VOCABULARY, random)
        mask = bench.make_mask(workload.mask, ROWS, VOCABULARY, random)
        settings = bench.make_settings(workload.asked, mask, ROWS, random)
        seen = logits if mask is None else bench.mask_by_torch(logits, mask)
        ours = bench.sample(logits, settings)
        assert bool(ours.is_valid.all())
        least = {"top-k 50": bench.TOP_K, "greedy": 1}.get(workload.asked, VOCABULARY)
        for token in (ours.token, bench.torch_sample(seen, workload.asked)):
            drawn = seen.gather(1, token.unsqueeze(1))
            assert bool((drawn > float("-inf")).all())
            assert int((seen > drawn).sum(1).max()) < least
            if workload.asked == "min-p 0.05":
                away = seen.amax(1, keepdim=True).float() - drawn.float()
                assert float(away.max()) <= -torch.tensor(bench.MIN_P).log() + 1e-5


def test_peaked_logits_hold_nine_tenths_in_few_tokens(bench: ModuleType) -> None:
    peaked = bench.make_logits("peaked", 8, VOCABULARY, torch.Generator().manual_seed(0))
    best = torch.softmax(peaked.float(), -1).sort(-1, descending=True).values.cumsum(-1)
    assert int((best < 0.9).sum(1).max()) < 20


def test_without_a_cuda_device_it_says_so_and_ends_with_code_2() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    command = [sys.executable, str(FOLDER / "sampling.py"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "CUDA" in done.stderr
