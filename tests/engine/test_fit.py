"""What fits, and by how much a model does not."""

from __future__ import annotations

import pytest

from espalier.engine.config import read_config
from espalier.engine.errors import DoesNotFitError
from espalier.engine.fit import CPU_DEFAULT_BYTES, Fit, fit, free_memory_bytes, show_bytes
from espalier.engine.options import EngineOptions

CONFIG = read_config(
    {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 96,
        "vocab_size": 512,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
    }
)
# 2 (keys, values) x 2 layers x 2 heads x 16 features x 4 bytes
PER_TOKEN = 512


def sizes(free_bytes: int, **options: object) -> Fit:
    chosen = EngineOptions(**options)  # type: ignore[arg-type]
    return fit(CONFIG, chosen, kv_dtype="float32", weights="float32", device="cpu", free_bytes=free_bytes)


def test_the_pool_takes_its_share_of_what_the_weights_leave() -> None:
    found = sizes(2**24, kv_memory_share=0.5)
    assert found.kv_bytes_per_token == PER_TOKEN
    assert found.weight_bytes == CONFIG.num_parameters() * 4
    assert found.num_slots == (2**24 - found.weight_bytes) // 2 // PER_TOKEN
    assert found.max_context == 1024


def test_on_the_cpu_the_pool_has_a_bound_unless_a_size_is_given() -> None:
    assert sizes(2**36).num_slots == CPU_DEFAULT_BYTES // PER_TOKEN
    assert sizes(2**36, kv_memory_bytes=2**33).num_slots == 2**33 // PER_TOKEN


def test_the_context_is_no_longer_than_the_pool() -> None:
    found = sizes(2**24, kv_memory_bytes=100 * PER_TOKEN)
    assert found.max_context == 100
    assert found.max_running == 100


@pytest.mark.parametrize(
    ("free_bytes", "options", "message"),
    [
        (2**16, {}, r"the weights take .* more than is free"),
        (2**20, {"kv_memory_bytes": 2**20}, r"--kv-memory-bytes asks for 1 MiB; .* too few"),
        (2**24, {"kv_memory_bytes": 50 * PER_TOKEN, "max_context": 60}, r"5 KiB more than the KV pool; lower .* to 50"),
        (2**24, {"kv_memory_bytes": 100}, r"holds no two tokens"),
    ],
)
def test_what_does_not_fit_is_said_with_its_shortfall(free_bytes: int, options: dict[str, int], message: str) -> None:
    with pytest.raises(DoesNotFitError, match=message):
        sizes(free_bytes, **options)


def test_the_table_names_everything_that_fits() -> None:
    rows = {row.name: row.value for row in sizes(2**24, kv_memory_bytes=4096 * PER_TOKEN).rows()}
    assert rows["KV slots"] == "4,096 (2 MiB)"
    assert rows["users at the longest context"] == "4"


def test_sizes_are_shown_in_binary_units() -> None:
    assert [show_bytes(size) for size in (10, 2048, 3 * 2**20, 5 * 2**30, 2**41)] == [
        "10 B",
        "2 KiB",
        "3 MiB",
        "5 GiB",
        "2048 GiB",
    ]


def test_free_memory_is_a_sensible_number() -> None:
    assert 2**24 < free_memory_bytes() < 2**50
