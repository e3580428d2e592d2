"""Numbers of arguments that have to be at least 1."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """An argument's whole number. Raises ArgumentTypeError, which argparse tells with the argument's name."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)
