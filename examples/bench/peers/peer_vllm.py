"""vLLM's CPU wheel, in process: peer_vllm.py CHECKPOINT THREADS REPEAT SETTING."""

from __future__ import annotations

import os
import sys
from pathlib import Path

THREADS = int(sys.argv[2])
os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "3",
    "VLLM_CPU_OMP_THREADS_BIND": f"0-{THREADS - 1}",
    "OMP_NUM_THREADS": str(THREADS),
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}

import vllm  # noqa: E402 -- its settings are read when it is imported
from figures import Figures, report, vocab_of  # noqa: E402
from vllm import LLM, SamplingParams  # noqa: E402

SETTINGS: dict[str, dict[str, object]] = {
    "float32, chunks of 512": {"dtype": "float32", "max_num_batched_tokens": 512},
    "float32, chunks of 2048": {"dtype": "float32", "max_num_batched_tokens": 2048},
    "float32, eager, chunks of 512": {"dtype": "float32", "max_num_batched_tokens": 512, "enforce_eager": True},
}


class Vllm:
    """vLLM's engine, stepped by hand."""

    def __init__(self, checkpoint: Path, setting: dict[str, object]) -> None:
        model = LLM(
            str(checkpoint),
            skip_tokenizer_init=True,
            max_model_len=2048,
            max_num_seqs=32,
            enable_prefix_caching=True,
            disable_log_stats=True,
            **setting,
        )
        self.engine = model.llm_engine
        self.told: dict[str, int] = {}

    def add(self, name: str, chat: str, token_ids: list[int], max_tokens: int) -> None:
        """See `Peer`."""
        params = SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True, detokenize=False)
        self.told[name] = 0
        self.engine.add_request(name, {"prompt_token_ids": token_ids}, params)

    def step(self) -> list[tuple[str, list[int]]]:
        """See `Peer`."""
        news = []
        for output in self.engine.step():
            token_ids = list(output.outputs[0].token_ids)
            news.append((output.request_id, token_ids[self.told[output.request_id] :]))
            self.told[output.request_id] = len(token_ids)
        return news

    def has_work(self) -> bool:
        """See `Peer`."""
        return self.engine.has_unfinished_requests()


checkpoint, repeat, name = Path(sys.argv[1]), int(sys.argv[3]), sys.argv[4]
report("vllm", name, vllm.__version__, Figures(Vllm(checkpoint, SETTINGS[name]), vocab_of(checkpoint), repeat).all())
