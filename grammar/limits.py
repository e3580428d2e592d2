"""How large a grammar may become: every limit is deterministic, and is named by the error that it causes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one grammar. Counts, not times, so that the same schema gets the same answer everywhere."""

    schema_bytes: int = 4_000_000  # of the schema as compact JSON, its documents included
    nesting: int = 512  # of the schema's JSON, and of groups in a pattern
    constraints: int = 100  # inside each other
    subschemas: int = 200_000
    properties: int = 100_000  # names that one object knows
    enum_values: int = 100_000
    states: int = 200_000  # that a grammar's compilation makes; those of its use count in the cache's bytes
    pattern_states: int = 20_000  # of the automaton of one pattern, or of one product of patterns
    pattern_nodes: int = 20_000  # of the nondeterministic automaton of one pattern
    search_steps: int = 20_000  # in one search for a witness
    verdicts: int = 4_096  # vectors that an open value can hand back
    mask_bytes: int = 8_000_000  # of the masks that one grammar keeps; more are made anew
    spot_bytes: int = 4_000_000  # of what one grammar knows of places: completions and forced text
    depth: int = 10_000  # open arrays and objects in an answer
