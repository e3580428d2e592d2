"""Checkpoints as they come: sharded, linked, damaged, hostile. Weights are mapped and their pages given back."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from espalier.engine.checkpoint import INDEX, SINGLE, Checkpoint, read_json
from espalier.engine.errors import CheckpointError, UnsupportedModelError

Make = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, make_checkpoint: Make) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(make_checkpoint("llama"), tmp_path / "copy")


def test_one_file_and_shards_hold_the_same(make_checkpoint: Make) -> None:
    single, sharded = Checkpoint(make_checkpoint("qwen3")), Checkpoint(make_checkpoint("qwen3", shard="10KB"))
    assert (sharded.folder / INDEX).exists() and set(single) == set(sharded)
    for name in single:
        assert name in sharded and single.shape(name) == sharded.shape(name)
        assert torch.equal(single.tensor(name), sharded.tensor(name))


def test_tensors_are_those_of_the_file(folder: Path) -> None:
    checkpoint, wanted = Checkpoint(folder), load_file(folder / SINGLE)
    assert {name: checkpoint.shape(name) for name in checkpoint} == {n: tuple(t.shape) for n, t in wanted.items()}
    assert all(torch.equal(checkpoint.tensor(name), wanted[name]) for name in checkpoint)


def test_a_folder_of_links_as_the_hubs_cache_keeps_it_is_read(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "snapshots"
    linked.mkdir()
    for file in folder.iterdir():
        (linked / file.name).symlink_to(file)
    assert set(Checkpoint(linked)) == set(Checkpoint(folder))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_are_mapped_and_given_back(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    save_file({"a": torch.ones(1 << 20), "b": torch.ones(1 << 20)}, tmp_path / SINGLE)
    checkpoint = Checkpoint(tmp_path)

    def resident_kib() -> int:
        kib, ours = 0, False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if "-" in line.split()[0]:
                ours = line.endswith(str(tmp_path / SINGLE))
            elif ours and line.startswith("Rss:"):
                kib += int(line.split()[1])
        return kib

    tensor = checkpoint.tensor("a")
    assert tensor.data_ptr() == checkpoint.tensor("a").data_ptr()
    assert float(tensor.sum()) == 1 << 20 and resident_kib() >= 4000
    checkpoint.release("a")
    assert resident_kib() < 1000
    assert float(tensor.sum()) == 1 << 20


def write_index(folder: Path, weight_map: Any) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.mark.parametrize(
    "file",
    ["../model.safetensors", "/etc/passwd", "..", "", "a/b.safetensors", "..\\x", 7, None, ["x"], "pytorch_model.bin"],
)
def test_an_index_that_leads_out_of_the_folder_is_refused(folder: Path, file: object) -> None:
    write_index(folder, {"model.norm.weight": file})
    with pytest.raises(CheckpointError, match="no safetensors file of this folder"):
        Checkpoint(folder)


@pytest.mark.parametrize("weight_map", [None, [], {}, "x"])
def test_an_index_without_a_map_is_refused(folder: Path, weight_map: object) -> None:
    write_index(folder, weight_map)
    with pytest.raises(CheckpointError, match="weight_map"):
        Checkpoint(folder)


def test_an_index_that_misplaces_a_tensor_is_refused(folder: Path) -> None:
    write_index(folder, {"model.norm.weight": SINGLE, "nothing.weight": SINGLE})
    with pytest.raises(CheckpointError, match=r"'nothing\.weight' in model\.safetensors"):
        Checkpoint(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    write_index(folder, {"model.norm.weight": "model-00001-of-00002.safetensors"})
    with pytest.raises(CheckpointError, match=r"no model-00001-of-00002\.safetensors.*incomplete"):
        Checkpoint(folder)


@pytest.mark.parametrize("kept", [0, 7, 100, 5000])
def test_a_file_that_was_cut_off_is_refused(folder: Path, kept: int) -> None:
    data = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes(data[:kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        Checkpoint(folder)


@pytest.mark.parametrize(
    "header", [b"{", b"[]", b'{"a": 1}', b'{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 1]}}']
)
def test_a_header_that_lies_is_refused(folder: Path, header: bytes) -> None:
    (folder / SINGLE).write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint(folder)


def test_pickled_weights_are_never_read(folder: Path) -> None:
    (folder / SINGLE).rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors; pickled weights are not read.*save_pretrained"):
        Checkpoint(folder)


def test_weights_that_are_no_floats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    save_file({"w": torch.zeros(2, 2, dtype=torch.int8)}, tmp_path / SINGLE)
    with pytest.raises(UnsupportedModelError, match=r"'w' is stored as I8.*unquantized"):
        Checkpoint(tmp_path).shape("w")


@pytest.mark.parametrize("text", ["", "{", "[1]", "nul", "[" * 100_000, "\ufeff{}"])
def test_a_config_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_json(tmp_path / "config.json")


def test_a_config_that_is_missing_no_text_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        Checkpoint(tmp_path)
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match="can't be read"):
        Checkpoint(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    with pytest.raises(CheckpointError, match="can't be read"):
        Checkpoint(tmp_path)
