"""Tells what users wrote from what a chat template wrote, in a text where both are mixed.

In every string that goes into a template, the telltale characters (one of each marker, as the `<` of `<|im_end|>`) are
exchanged, one for one, for private ones. A marker with its genuine telltale in the rendered text is therefore the
template's, however the template cuts, joins and trims. What a template looks for in users' text
(`content.split('</think>')`) is exchanged in the template likewise, so that it still finds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import nodes

from espalier.engine.errors import CheckpointError, TemplateError
from espalier.engine.marker import FIRST_OWN, Markers, without_own

MOST_TELLTALES = 0xF0
# The methods, filters and tests of a template that look for a text, and how many of their arguments do.
SEARCHES = {
    **dict.fromkeys("split rsplit partition rpartition startswith endswith find rfind index rindex count".split(), 1),
    **dict.fromkeys("strip lstrip rstrip removeprefix removesuffix replace trim eq equalto ne in".split(), 1),
}


def _telltale(marker: str) -> str:
    """A character without which the marker can't be spelled, as rare as possible in other text."""
    signs = (letter for letter in marker if not letter.isalnum() and letter not in " _\n\t")
    return next(signs, (marker.strip() or marker)[0])


class UserText:
    """Exchanges characters in users' strings and back, for one tokenizer's markers."""

    def __init__(self, markers: Markers) -> None:
        telltales = sorted({_telltale(marker) for marker in markers.aliases if marker})
        if len(telltales) > MOST_TELLTALES:
            raise CheckpointError(f"the added tokens have {len(telltales)} first signs; {MOST_TELLTALES} can be told")
        self._markers = markers
        self._to_own = {ord(letter): chr(FIRST_OWN + at) for at, letter in enumerate(telltales)}
        self._back = {own: chr(letter) for letter, own in self._to_own.items()}
        for own, letter in list(self._back.items()):
            # As Python's repr and as JSON in ASCII write them.
            self._back |= {f"\\U{ord(own):08x}": letter, f"\\udbff\\u{0xDC00 | ord(own) & 0x3FF:04x}": letter}
        self._own = re.compile("|".join(map(re.escape, self._back))) if self._back else None

    def exchanged(self, value: Any) -> Any:
        """A copy of JSON-like data with the telltales of all its strings exchanged. Raises TemplateError."""
        if isinstance(value, str):
            return without_own(str(value)).translate(self._to_own)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.exchanged(key): self.exchanged(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.exchanged(item) for item in value]
        raise TemplateError(f"messages hold a {type(value).__name__}; what JSON knows is needed", param="messages")

    def restored(self, text: str) -> str:
        """A rendered text as it would have been without exchange."""
        return text if self._own is None else self._own.sub(lambda found: self._back[found[0]], text)

    def aliased(self, text: str) -> str:
        """A rendered text with the template's markers as aliases, and users' as they were spelled."""
        return self.restored(self._markers.meant(text))

    def exchange_searches(self, template: nodes.Template) -> None:
        """Exchange in a parsed template what it looks for."""
        for compare in template.find_all(nodes.Compare):
            self._exchange(compare.expr, *(operand.expr for operand in compare.ops))
        for call in template.find_all(nodes.Call):
            if isinstance(call.node, nodes.Getattr):
                self._exchange(*call.args[: SEARCHES.get(call.node.attr, 0)])
        for step in template.find_all((nodes.Filter, nodes.Test)):
            self._exchange(*step.args[: SEARCHES.get(step.name, 0)])

    def _exchange(self, *expressions: nodes.Expr) -> None:
        for expression in expressions:
            if isinstance(expression, nodes.Const) and isinstance(expression.value, str):
                expression.value = expression.value.translate(self._to_own)
            elif isinstance(expression, nodes.List | nodes.Tuple):
                self._exchange(*expression.items)
            elif isinstance(expression, nodes.Add):
                self._exchange(expression.left, expression.right)
            elif isinstance(expression, nodes.Concat):
                self._exchange(*expression.nodes)
