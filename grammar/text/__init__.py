"""Languages of decoded strings, and the machines that read them as UTF-8."""

from espalier.grammar.text.language import Language
from espalier.grammar.text.machine import TextMachine, text_machine

__all__ = ["Language", "TextMachine", "text_machine"]
