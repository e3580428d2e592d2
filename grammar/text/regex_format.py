"""The format `regex`: ECMA-262 patterns with the flag `u` (and quantifiers behind look-ahead, as without it), as a
language of strings.

Groups are nested up to a bound. Refused, though some are patterns: decimal back-references (their groups would have
to be counted), `\\0`, counts `{n,m}` with n of more than a digit, ranges in classes that do not begin with a
printable character of ASCII as itself, groups in look-behind, properties that are not listed. Accepted, though it may
be none: a `\\k<name>` whose group is missing, a name that two groups have.
"""

from __future__ import annotations

from espalier.grammar.text.language import Language

DEPTH = 5  # groups in each other
_HEX = r"[\dA-Fa-f]"
_NAME = r"<[A-Za-z_$][\w$]*>"
_SYNTAX = r"^$\\.*+?()\[\]{}|"
_CATEGORIES = (
    "C[cfnos]?|L[Clmotu]?|M[cen]?|N[dlo]?|P[cdefios]?|S[ckmo]?|Z[lps]?"
    "|(?:Lowercase_|Uppercase_)?Letter|Mark|(?:Decimal_)?Number|Punctuation|Symbol|Separator|Other"
)
_SCRIPTS = "Latin|Greek|Cyrillic|Han|Hiragana|Katakana|Hangul|Arabic|Hebrew|Thai|Devanagari|Common|Inherited"
_BINARY = "Any|ASCII|Alphabetic|Uppercase|Lowercase|White_Space|Emoji|ID_Start|ID_Continue"
_PROPERTY = (
    rf"[pP]\{{(?:(?:(?:General_Category|gc)=)?(?:{_CATEGORIES})|(?:Script|sc|Script_Extensions|scx)=(?:{_SCRIPTS})"
    rf"|{_BINARY})\}}"
)
_POINT = rf"u(?:{_HEX}{{4}}|\{{0*(?:10)?{_HEX}{{1,4}}\}}|\{{0*{_HEX}{{5}}\}})"
_ESCAPE = rf"\\(?:[dDsSwWfnrtv/{_SYNTAX}]|c[A-Za-z]|x{_HEX}{{2}}|{_POINT}|{_PROPERTY}"  # left open


def _quantifier() -> str:
    counts = "|".join(rf"0*{n},0*(?:[{n}-9]|[1-9]\d+)" for n in range(10))
    return rf"(?:(?:[*+?]|\{{(?:\d+,?|{counts})\}})\??)?"


def _class() -> str:
    """A class: members, ranges that ascend, hyphens at the ends."""
    lows = [point for point in range(0x20, 0x7F) if chr(point) not in "\\]-"]
    ranges = "|".join(rf"\u{{{low:x}}}-[\u{{{low:x}}}-\u{{10ffff}}]" for low in lows if low > 0x5D)
    below = "|".join(rf"\u{{{low:x}}}-[\u{{{low:x}}}-\[\^-\u{{10ffff}}]" for low in lows if low < 0x5D)
    return rf"\[\^?-?(?:[^\\\]-]|{_ESCAPE}|[b-])|{ranges}|{below})*-?\]"


def _disjunction(group: str) -> str:
    """Terms and bars; `group` is a group with its brackets, or nothing that matches."""
    atom = rf"(?:[^{_SYNTAX}]|\.|{_ESCAPE}|k{_NAME})|{_class()}|{group})"
    return rf"(?:[\^$|]|\\[bB]|{atom}{_quantifier()}|\(\?<[=!]@\))*"


def regex() -> Language:
    """See the module."""
    inside = _disjunction("[]").replace(r"|\(\?<[=!]@\)", "")
    behind = inside
    for _ in range(DEPTH):
        inside = _disjunction(rf"\((?:\?(?:[:=!]|{_NAME}))?{inside}\)").replace("@", behind)
    return Language.pattern(f"^{inside}$")
