"""Loading: what is missing, unknown or misshapen is named before anything is read; memory holds one copy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from espalier.engine.checkpoint import SINGLE, Checkpoint
from espalier.engine.config import read_config
from espalier.engine.errors import CheckpointError
from espalier.engine.model import CausalLM, ExpertsMlp
from espalier.engine.tensor_table import EMBEDDING, HEAD, tensor_shapes
from espalier.engine.weights import Placement, check_tensors, load_model

Make = Callable[..., Path]
CASES = ["llama", "llama-tied", "llama-biases", "mistral", "qwen2", "qwen3", "qwen3-moe", "qwen3-moe-sparse"]


@pytest.fixture
def folder(tmp_path: Path, make_checkpoint: Make) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(make_checkpoint("llama"), tmp_path / "copy")


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / SINGLE).items()}
    change(tensors)
    save_file(tensors, folder / SINGLE)


def load(folder: Path) -> CausalLM:
    checkpoint = Checkpoint(folder)
    return load_model(checkpoint, read_config(checkpoint.config), Placement("cpu", torch.float32, "float32"), 32)


@pytest.mark.parametrize("case", CASES)
def test_the_table_of_tensors_is_what_transformers_writes(case: str, make_checkpoint: Make) -> None:
    checkpoint = Checkpoint(make_checkpoint(case))
    shapes = tensor_shapes(read_config(checkpoint.config))
    assert shapes == {name: checkpoint.shape(name) for name in checkpoint}


def test_missing_tensors_are_named(folder: Path) -> None:
    edit(folder, lambda tensors: tensors.pop("model.layers.1.self_attn.k_proj.weight"))
    with pytest.raises(CheckpointError, match=r"no tensor 'model\.layers\.1\.self_attn\.k_proj\.weight'"):
        load(folder)


def test_many_missing_tensors_are_counted(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))
    with pytest.raises(CheckpointError, match=r"model\.layers\.3\..* and 15 more"):
        load(folder)


def test_tensors_without_a_place_are_named(folder: Path) -> None:
    edit(folder, lambda tensors: tensors.update({"model.layers.0.self_attn.q_proj.lora": torch.ones(2)}))
    with pytest.raises(CheckpointError, match=r"no place for tensor 'model\.layers\.0\.self_attn\.q_proj\.lora'"):
        load(folder)


def test_a_bias_that_the_config_denies_is_an_error(make_checkpoint: Make, tmp_path: Path) -> None:
    folder = shutil.copytree(make_checkpoint("llama-biases"), tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attention_bias": False}))
    with pytest.raises(CheckpointError, match=r"no place for tensor .*self_attn\.k_proj\.bias"):
        load(folder)


def test_another_shape_is_named_with_both(folder: Path) -> None:
    edit(folder, lambda tensors: tensors.update({"model.norm.weight": torch.ones(31)}))
    with pytest.raises(CheckpointError, match=r"'model\.norm\.weight' has shape \[31\], config\.json asks for \[32\]"):
        load(folder)


def test_leftovers_of_old_checkpoints_are_ignored(folder: Path) -> None:
    edit(folder, lambda tensors: tensors.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}))
    load(folder)


def test_a_head_beside_a_tied_embedding_is_ignored(make_checkpoint: Make, tmp_path: Path) -> None:
    folder = shutil.copytree(make_checkpoint("llama-tied"), tmp_path / "copy")
    edit(folder, lambda tensors: tensors.update({HEAD: torch.ones(97, 32)}))
    checkpoint = Checkpoint(folder)
    check_tensors(checkpoint, read_config(checkpoint.config))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_embedding_stays_a_view_of_the_file(dtype: torch.dtype, make_checkpoint: Make) -> None:
    checkpoint = Checkpoint(make_checkpoint("qwen3", torch.bfloat16))
    placement = Placement("cpu", dtype, "bfloat16" if dtype == torch.bfloat16 else "float32")
    model = load_model(checkpoint, read_config(checkpoint.config), placement, 32)
    assert model.weights.embedding.data_ptr() == checkpoint.tensor(EMBEDDING).data_ptr()


def test_norms_are_no_views_of_the_file(make_checkpoint: Make) -> None:
    checkpoint = Checkpoint(make_checkpoint("llama"))
    model = load_model(checkpoint, read_config(checkpoint.config), Placement("cpu", torch.float32, "float32"), 32)
    assert model.weights.final_norm.data_ptr() != checkpoint.tensor("model.norm.weight").data_ptr()


def test_a_router_is_never_quantized(make_checkpoint: Make) -> None:
    checkpoint = Checkpoint(make_checkpoint("qwen3-moe"))
    config = read_config(checkpoint.config)
    placements = Placement("cpu", torch.float32, "float32"), Placement("cpu", torch.float32, "int8")
    mlps = [load_model(checkpoint, config, place, 32).weights.layers[1].mlp for place in placements]
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    routed = [mlp.router(x) for mlp in mlps if isinstance(mlp, ExpertsMlp)]
    assert len(routed) == 2 and torch.equal(*routed)


MEASURE = """
import sys, torch
from pathlib import Path
from espalier.engine.checkpoint import Checkpoint
from espalier.engine.config import read_config
from espalier.engine.weights import Placement, load_model
from espalier.kernels import native

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

checkpoint = Checkpoint(Path(sys.argv[1]))
config = read_config(checkpoint.config)
torch.ones(64, 64) @ torch.ones(64, 64)
native.library()
before = peak()
load_model(checkpoint, config, Placement("cpu", torch.float32, sys.argv[2]), 32)
print(peak() - before, config.num_parameters())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("dtype", "fmt", "item"), [("float32", "float32", 4), ("bfloat16", "float32", 4), ("bfloat16", "int8", 1)]
)
def test_peak_memory_is_one_packed_copy_and_a_tensor(dtype: str, fmt: str, item: int, tmp_path: Path) -> None:
    hidden, layers, intermediate = 512, 40, 1024
    shape = {
        "architectures": ["MistralForCausalLM"],
        "vocab_size": 1000,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": 8,
        "max_position_embeddings": 64,
    }
    (tmp_path / "config.json").write_text(json.dumps(shape))
    config = read_config(shape)
    save_file(
        {n: torch.zeros(s, dtype=getattr(torch, dtype)) for n, s in tensor_shapes(config).items()}, tmp_path / SINGLE
    )
    told = subprocess.run([sys.executable, "-c", MEASURE, tmp_path, fmt], capture_output=True, text=True, check=True)
    used, parameters = map(int, told.stdout.split())
    # gate and up together, in float32, a few times over: as read, stacked, padded, in panels.
    tensor = 2 * intermediate * hidden * 4
    assert used < parameters * item + 8 * tensor
