"""Numeric operations, one a file, each with one signature for every device; they know no requests and no schemas."""
