"""Sessions: conversations as trees of turns, leases and the durable log. Not built yet."""
