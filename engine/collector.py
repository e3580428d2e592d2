"""When a long-lived process looks for garbage."""

from __future__ import annotations

import gc


def settle_collector() -> None:
    """To be called once, when everything that lives as long as the process has been made.

    Compiled grammars are millions of small objects, and a full collection looks at each: with Python's own thresholds
    streams would stand still for a second every few hundred new schemas. What there is now is never looked at again,
    the young are collected less often, and a full collection comes after a million objects that stayed.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 5)
