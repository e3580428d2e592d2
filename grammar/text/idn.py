"""Internationalised host names (RFC 5890 to 5893), as far as an automaton can say them.

Not covered: A-labels are refused, because whether their Punycode is right cannot be said; that the Punycode of a
label has at most 59 bytes is only implied by a bound on its characters; and beside a zero-width non-joiner without a
virama only the letters of the Arabic script are known to join.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from espalier.grammar.text.code_points import Ranges, complement, normal, points
from espalier.grammar.text.language import Language
from espalier.grammar.text.unicode_property import unicode_property

_LETTER_DIGITS = ("Ll", "Lu", "Lo", "Nd", "Lm", "Mn", "Mc")
_UNSTABLE = ("CWKCF", "DI", "White_Space", "NChar")
_IGNORABLE_BLOCKS = ((0x20D0, 0x20FF), (0x1D100, 0x1D1FF), (0x1D200, 0x1D24F))
_OLD_HANGUL_JAMO = ((0x1100, 0x11FF), (0xA960, 0xA97F), (0xD7B0, 0xD7FF))
_VALID_EXCEPTIONS = "\u00df\u03c2\u06fd\u06fe\u0f0b\u3007"  # RFC 5892, 2.6
_CONTEXT = (
    (0xB7, 0xB7),
    (0x375, 0x375),
    (0x5F3, 0x5F4),
    (0x660, 0x669),
    (0x6F0, 0x6F9),
    (0x200C, 0x200D),
    (0x30FB, 0x30FB),
)
_DISALLOWED = "\u0640\u07fa\u302e\u302f\u3031\u3032\u3033\u3034\u3035\u303b"
_DOTS = ".\u3002\uff0e\uff61"
_RIGHT_TO_LEFT_BLOCKS = ((0x590, 0x8FF), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFF), (0x10800, 0x10FFF), (0x1E800, 0x1EFFF))
_VIRAMAS = (
    *(0x94D, 0x9CD, 0xA4D, 0xACD, 0xB4D, 0xBCD, 0xC4D, 0xCCD, 0xD3B, 0xD3C, 0xD4D, 0xDCA, 0xE3A, 0xEBA, 0xF84),
    *(0x1039, 0x103A, 0x1714, 0x1715, 0x1734, 0x17D2, 0x1A60, 0x1B44, 0x1BAA, 0x1BAB, 0x1BF2, 0x1BF3, 0x2D7F),
    *(0xA806, 0xA82C, 0xA8C4, 0xA953, 0xA9C0, 0xAAF6, 0xABED, 0x10A3F, 0x11046, 0x11070, 0x1107F, 0x110B9),
    *(0x11133, 0x11134, 0x111C0, 0x11235, 0x112EA, 0x1134D, 0x11442, 0x114C2, 0x115BF, 0x1163F, 0x116B6),
    *(0x1172B, 0x11839, 0x1193D, 0x1193E, 0x119E0, 0x11A34, 0x11A47, 0x11A99, 0x11C3F, 0x11D44, 0x11D45, 0x11D97),
)  # of canonical combining class 9
_DUAL_JOINING = (
    "\u0620\u0626\u0628\u062a-\u062e\u0633-\u063f\u0641-\u0647\u0649\u064a\u0678-\u0687\u069a-\u06bf\u06cc\u06d0\u06d1"
)
_RIGHT_JOINING = (
    "\u0622-\u0625\u0627\u0629\u062f-\u0632\u0648\u0671-\u0673\u0675-\u0677\u0688-\u0699\u06c0\u06c3-\u06cb\u06cd\u06d2"
)


def _members(ranges: Ranges) -> str:
    """The inside of a class."""
    return "".join(rf"\u{{{low:x}}}-\u{{{high:x}}}" for low, high in ranges)


def _meet(left: Ranges, right: Ranges) -> Ranges:
    return complement(normal((*complement(left), *complement(right))))


def _named(*names: str) -> Ranges:
    return normal(part for name in names for part in unicode_property(name) or ())


@lru_cache(maxsize=1)
def _valid() -> Ranges:
    """The code points beyond ASCII that a label may have, some only in a certain context (RFC 5892, 3)."""
    never = normal((*_named(*_UNSTABLE), *_IGNORABLE_BLOCKS, *_OLD_HANGUL_JAMO, *points(_DISALLOWED), (0, 0x7F)))
    derived = _meet(_named(*_LETTER_DIGITS), complement(never))
    return normal((*derived, *points(_VALID_EXCEPTIONS), *_CONTEXT))


def _bidirectional(*classes: str) -> Ranges:
    """Of the blocks of right-to-left scripts; elsewhere there are none of these classes."""
    blocks = (point for low, high in _RIGHT_TO_LEFT_BLOCKS for point in range(low, high + 1))
    return normal((point, point) for point in blocks if unicodedata.bidirectional(chr(point)) in classes)


def _contexts() -> Language:
    """The rules for single characters (RFC 5892, appendix A): what breaks one is found anywhere in the name."""
    virama = "".join(map(chr, _VIRAMAS))
    kana = r"\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Han}"
    other_mark = _members(_meet(_named("Mn"), complement(points(virama))))
    broken = (
        "(?:^|[^l])\u00b7|\u00b7(?:[^l]|$)",
        r"\u0375(?:\P{sc=Greek}|$)",
        r"(?:^|\P{sc=Hebrew})[\u05f3\u05f4]",
        rf"(?:^|[{_DOTS}])[^{_DOTS}{kana}]*\u30fb[^{_DOTS}{kana}]*(?:[{_DOTS}]|$)",
        rf"[\u0660-\u0669][^{_DOTS}]*[\u06f0-\u06f9]|[\u06f0-\u06f9][^{_DOTS}]*[\u0660-\u0669]",
        rf"(?:^|[^{virama}])\u200d",
        # A non-joiner has a virama before it, or a joining letter on both sides, marks between them aside.
        rf"(?:^|[^{virama}\p{{Mn}}{_DUAL_JOINING}])\u200c",
        rf"(?:^|[^\p{{Mn}}{_DUAL_JOINING}])\p{{Mn}}*[{other_mark}]\u200c",
        rf"(?:^|[^{virama}])\u200c\p{{Mn}}*(?:[^\p{{Mn}}{_DUAL_JOINING}{_RIGHT_JOINING}]|$)",
    )
    found = Language.EVERY
    for source in broken:
        found = found & ~Language.pattern(source)
    return found


def _directions() -> Language:
    """The rule for right-to-left labels: if a name has one, it holds for all of them (RFC 5893, 2)."""
    right, arabic = _members(_bidirectional("R", "AL")), _members(_bidirectional("AN"))
    digits, marks, neutral = r"0-9\u06f0-\u06f9", r"\p{Mn}", "\u00b7\u30fb\u0375\u200c\u200d-"
    left = rf"[^{_DOTS}{right}{arabic}{digits}{neutral}\p{{Mn}}]"
    right_label = "|".join(
        rf"[{right}](?:[{right}{numbers}{neutral}{marks}]*[{right}{numbers}])?[{marks}]*"
        for numbers in (digits, arabic)
    )
    left_label = rf"{left}(?:(?:{left}|[{digits}{neutral}{marks}])*(?:{left}|[{digits}]))?[{marks}]*"
    label = rf"(?:{right_label}|{left_label})"
    return Language.pattern(rf"^(?:[^{right}{arabic}]*|{label}(?:[{_DOTS}]{label})*)$")


def idn_label() -> str:
    """The pattern of a label, without the rules for contexts and directions."""
    return rf"[\da-z{_members(_valid())}](?:[\da-z{_members(_valid())}-]{{0,61}}[\da-z{_members(_valid())}])?"


def idn_hostname() -> Language:
    """See the module."""
    ascii_label = r"[\dA-Za-z](?:[\dA-Za-z-]{0,61}[\dA-Za-z])?"
    unicode_label = idn_label().replace("{0,61}", "{0,57}")
    marks = r"\p{M}"
    label = rf"(?:{ascii_label}|{unicode_label})"
    shape = Language.pattern(rf"^{label}(?:[{_DOTS}]{label})*$") & Language.length(0, 253)
    first_is_mark = Language.pattern(rf"(?:^|[{_DOTS}]){marks}")
    hyphens = Language.pattern(rf"(?:^|[{_DOTS}])[^{_DOTS}]{{2}}--")
    return shape & ~first_is_mark & ~hyphens & _contexts() & _directions()
