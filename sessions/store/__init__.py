"""The durable log of sessions: SQLite in a folder of its own. The only place that knows SQL."""

from espalier.sessions.store.store import Connect, Store

__all__ = ["Connect", "Store"]
