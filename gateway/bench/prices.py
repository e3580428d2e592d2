"""What a GPU costs an hour and a million tokens. Prices in US dollars, on demand, as of 2026-04-07."""

from __future__ import annotations

PRICES_PER_HOUR = {"A100": 1.64, "H100": 2.90, "H200": 4.54, "B200": 7.43}
PRICES_AS_OF = "2026-04-07"


def cost_per_million(price_per_hour: float, tokens_per_s: float) -> float | None:
    """CPM: the price of the time that a million tokens take; None where no token came."""
    return price_per_hour / (tokens_per_s * 3600) * 1e6 if tokens_per_s > 0 else None
