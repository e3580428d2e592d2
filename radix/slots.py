"""The slots of an edge, in parts: a `range` where they rise by one, an array where they don't.

Most rise, because the allocator hands slots out that way, so half of the tree's memory is saved. Neighbouring
arrays become one, so that what is given up is one view; a range that is long enough stays a range beside them.
"""

from __future__ import annotations

from itertools import accumulate

from espalier.radix.run import Ids, Part, first_of, packed, unpacked

_SHORT = 256
"""A range under this length is spelled out where its neighbour is."""


class Slots:
    """See the module; its length is that of all parts."""

    __slots__ = ("_count", "parts")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, slots: Ids) -> None:
        """Put a copy of these at the end."""
        self._put(packed(slots))

    def cut(self, keep: int) -> list[Part]:
        """Take what lies behind the first `keep`, as it is kept: the last part first."""
        taken: list[Part] = []
        while self._count > keep:
            part = self.parts.pop()
            self._count -= len(part)
            if self._count < keep:
                inside = keep - self._count
                self.parts.append(first_of(part, inside))
                self._count = keep
                part = part[inside:]
            taken.append(part)
        return taken

    def split(self, at: int) -> Slots:
        """Take the first `at`, as slots of their own."""
        head, tail = Slots(), Slots()
        for part, end in zip(self.parts, accumulate(map(len, self.parts)), strict=True):
            inside = max(0, len(part) - max(0, end - at))
            for side, piece in ((head, part[:inside]), (tail, part[inside:])):
                side._put(piece if isinstance(piece, range) or len(piece) == len(part) else packed(piece))
        self.parts, self._count = tail.parts, tail._count
        return head

    def _put(self, part: Part) -> None:
        if not len(part):
            return
        self._count += len(part)
        last = self.parts[-1] if self.parts else None
        if last is None:
            self.parts.append(part)
        elif isinstance(last, range) and isinstance(part, range) and last.stop == part.start:
            self.parts[-1] = range(last.start, part.stop)
        elif _is_loose(last) and _is_loose(part):
            self.parts[-1] = unpacked((last, part))
        else:
            self.parts.append(part)


def _is_loose(part: Part) -> bool:
    return len(part) < _SHORT or not isinstance(part, range)
