"""OpenVINO GenAI's continuous batching, in process: peer_openvino.py CHECKPOINT THREADS REPEAT SETTING.

The checkpoint is exported once for each weight format, beside itself.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import openvino_genai as genai
from figures import Figures, report, vocab_of

SETTINGS: dict[str, tuple[str, dict[str, str]]] = {
    "float32": ("fp32", {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}),
    "int8": ("int8", {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}),
    "int8, KV u8": ("int8", {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "u8"}),
}


def exported(checkpoint: Path, weights: str) -> Path:
    """The checkpoint in OpenVINO's format."""
    folder = checkpoint.parent / f"{checkpoint.name}-openvino-{weights}"
    if not (folder / "openvino_model.xml").exists():
        command = ["export", "openvino", "--model", checkpoint, "--task", "text-generation-with-past"]
        cli = Path(sys.executable).parent / "optimum-cli"
        subprocess.run([cli, *command, "--weight-format", weights, folder], check=True, stdout=sys.stderr)
    return folder


class OpenVino:
    """The pipeline, stepped by hand."""

    def __init__(self, folder: Path, threads: int, properties: dict[str, str]) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = 3
        scheduler.enable_prefix_caching = True
        scheduler.max_num_seqs = 32
        scheduler.dynamic_split_fuse = True
        scheduler.max_num_batched_tokens = 512
        chosen = {"INFERENCE_NUM_THREADS": str(threads), **properties}
        self.pipe = genai.ContinuousBatchingPipeline(str(folder), scheduler, "CPU", chosen)
        self.handles: dict[str, genai.GenerationHandle] = {}
        self.numbers: dict[int, str] = {}

    def add(self, name: str, chat: str, token_ids: list[int], max_tokens: int) -> None:
        """See `Peer`."""
        config = genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = max_tokens, True, False
        ids = openvino.Tensor(np.array([token_ids], dtype=np.int64))
        self.handles[name] = self.pipe.add_request(len(self.numbers), ids, config)
        self.numbers[len(self.numbers)] = name

    def step(self) -> list[tuple[str, list[int]]]:
        """See `Peer`."""
        self.pipe.step()
        news = []
        for name, handle in list(self.handles.items()):
            while handle.can_read():
                news.append((name, [token for output in handle.read().values() for token in output.generated_ids]))
            if handle.get_status() != genai.GenerationStatus.RUNNING:
                del self.handles[name]
        return news

    def has_work(self) -> bool:
        """See `Peer`."""
        return bool(self.pipe.has_non_finished_requests())


checkpoint, threads, repeat, name = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
weights, properties = SETTINGS[name]
peer = OpenVino(exported(checkpoint, weights), threads, properties)
report("openvino", name, genai.__version__, Figures(peer, vocab_of(checkpoint), repeat).all())
