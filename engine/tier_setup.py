"""From options to the tiers below the device; None where none is asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from espalier.engine.errors import EngineError
from espalier.engine.fingerprint import fingerprint
from espalier.engine.host_tier import HostTier
from espalier.engine.kv_pool import KVPool
from espalier.engine.loader import Loaded
from espalier.engine.options import EngineOptions
from espalier.engine.tier_folder import TierFolder
from espalier.engine.tiers import Tiers
from espalier.radix import PrefixTree


def make_tiers(options: EngineOptions, loaded: Loaded, tree: PrefixTree, clock: Callable[[], float]) -> Tiers | None:
    """The tiers that `options` ask for. Raises EngineError if the folder can't be used."""
    if not options.prefix_cache or not (options.kv_host_bytes or options.kv_disk_bytes):
        return None
    return Tiers(
        tree,
        loaded.kv,
        host=_host(options, loaded),
        folder=_folder(options, loaded),
        disk_bytes=options.kv_disk_bytes,
        bytes_per_token=loaded.fit.kv_bytes_per_token,
        clock=clock,
        epoch_s=time.time() - clock(),
    )


def _host(options: EngineOptions, loaded: Loaded) -> HostTier | None:
    num_slots = options.kv_host_bytes // loaded.fit.kv_bytes_per_token
    if not num_slots:
        return None
    return HostTier(KVPool(loaded.model.config, num_slots, device="cpu", dtype=loaded.kv.storage_k.dtype))


def _folder(options: EngineOptions, loaded: Loaded) -> TierFolder | None:
    if not options.kv_disk_bytes:
        return None
    base = options.kv_folder
    if base is None and (data_dir := os.environ.get("ESPALIER_DATA_DIR")):
        base = str(Path(data_dir) / "kv")
    if base is None:
        raise EngineError("--kv-disk-bytes needs a folder for the files: give --kv-folder, or the server's --data-dir")
    kv_dtype = str(loaded.kv.storage_k.dtype)
    digest = fingerprint(
        loaded.folder, loaded.model.config, kv_dtype=kv_dtype, weights=options.weights, exact=options.exact
    )
    return TierFolder(Path(base), digest)
