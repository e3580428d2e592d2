"""Random checkpoints are real ones: transformers reads them and gives the same logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from espalier.engine import LLM, SamplingParams
from espalier.engine.random_checkpoint import SHAPES, write_random_checkpoint
from espalier.engine.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("random"), SHAPES["tiny"], seed=5)


def test_transformers_generates_the_same_tokens(folder: Path) -> None:
    prompt = list(range(300, 330))
    params = SamplingParams(temperature=0, max_tokens=6, ignore_eos=True)
    ours = LLM(str(folder), kv_memory_bytes=2**20, threads=1).generate(prompt, params)[0].token_ids
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = list(prompt)
    with torch.inference_mode():
        for _ in ours:
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert ids[len(prompt) :] == ours


def test_the_tokenizer_reads_every_text(folder: Path) -> None:
    tokenizer = Tokenizer.load(folder)
    text = "hello é 🌳 \x00 end"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab_size == 512


def test_the_same_seed_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    again = write_random_checkpoint(tmp_path, SHAPES["tiny"], seed=5)
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    other = write_random_checkpoint(tmp_path / "other", SHAPES["tiny"], seed=6)
    assert (other / "model.safetensors").read_bytes() != (folder / "model.safetensors").read_bytes()
