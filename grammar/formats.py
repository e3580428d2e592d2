"""What `format` asserts (JSON Schema 2020-12 Validation, 7.3), as languages of strings.

Exact, but for A-labels (`xn--...`) in host names, whose Punycode is not decoded, for what `text/idn.py` says, and for
`regex`, which see. Names that are not here are annotations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from espalier.grammar.text import Language
from espalier.grammar.text.idn import idn_hostname, idn_label
from espalier.grammar.text.regex_format import regex

_MONTH_DAY = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
)
_LEAP_YEAR = r"(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DATE = rf"(?:\d{{4}}-{_MONTH_DAY}|{_LEAP_YEAR}-02-29)"
_HOUR_MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"
_FRACTION = r"(?:\.\d+)?"
_TIME = rf"{_HOUR_MINUTE}:(?:[0-5]\d|60){_FRACTION}(?:[Zz]|[+-]{_HOUR_MINUTE})"

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_H16 = r"[\dA-Fa-f]{1,4}"
_LS32 = rf"(?:{_H16}:{_H16}|{_IPV4})"
_IPV6 = "(?:" + "|".join([
    rf"(?:{_H16}:){{6}}{_LS32}",
    rf"::(?:{_H16}:){{5}}{_LS32}",
    *(rf"(?:{_H16}(?::{_H16}){{0,{n}}})?::(?:{_H16}:){{{4 - n}}}{_LS32}" for n in range(5)),
    rf"(?:{_H16}(?::{_H16}){{0,5}})?::{_H16}",
    rf"(?:{_H16}(?::{_H16}){{0,6}})?::",
]) + ")"  # RFC 3986, 3.2.2  # fmt: skip

_LABEL = r"[\dA-Za-z](?:[\dA-Za-z-]{0,61}[\dA-Za-z])?"
_HOSTNAME = rf"{_LABEL}(?:\.{_LABEL})*"

_UCS = (  # RFC 3987, 2.2
    r"\u{A0}-\u{D7FF}\u{F900}-\u{FDCF}\u{FDF0}-\u{FFEF}"
    + "".join(rf"\u{{{plane:X}0000}}-\u{{{plane:X}FFFD}}" for plane in range(1, 14))
    + r"\u{E1000}-\u{EFFFD}"
)
_PRIVATE = r"\u{E000}-\u{F8FF}\u{F0000}-\u{FFFFD}\u{100000}-\u{10FFFD}"
_PERCENT = r"%[\dA-Fa-f]{2}"
_SUB_DELIMS = "!$&'()*+,;="


def _resource(ucs: str, private: str, is_relative: bool) -> str:
    """A URI or a reference (RFC 3986, appendix A), or with more characters an IRI (RFC 3987, 2.2)."""
    unreserved = rf"\w.~{ucs}-"
    char = rf"(?:[{_SUB_DELIMS}:@{unreserved}]|{_PERCENT})"
    no_colon = rf"(?:[{_SUB_DELIMS}@{unreserved}]|{_PERCENT})"
    user = rf"(?:[{_SUB_DELIMS}:{unreserved}]|{_PERCENT})*@"
    name = rf"(?:[{_SUB_DELIMS}{unreserved}]|{_PERCENT})*"
    literal = rf"\[(?:{_IPV6}|[Vv][\dA-Fa-f]+\.[{_SUB_DELIMS}:\w.~-]+)\]"
    authority = rf"//(?:{user})?(?:{literal}|{name})(?::\d*)?(?:/{char}*)*"
    absolute = rf"/(?:{char}+(?:/{char}*)*)?"
    tail = rf"(?:\?(?:{char}|[/?{private}])*)?(?:#(?:{char}|[/?])*)?"
    full = rf"[A-Za-z][\dA-Za-z+.-]*:(?:{authority}|{absolute}|{char}+(?:/{char}*)*)?{tail}"
    if not is_relative:
        return f"^{full}$"
    return rf"^(?:{full}|(?:{authority}|{absolute}|{no_colon}+(?:/{char}*)*)?{tail})$"


_TEMPLATE_NAME = rf"(?:\w|{_PERCENT})(?:\.?(?:\w|{_PERCENT}))*"
_VARIABLE = rf"{_TEMPLATE_NAME}(?:\*|:[1-9]\d{{0,3}})?"
_TEMPLATE = (  # RFC 6570, 2; the apostrophe by erratum 6937
    rf"^(?:[!#$&'()*+,./:;=?@\[\]~\w{_UCS}{_PRIVATE}-]|{_PERCENT}|\{{[+#./;?&=,!@|]?{_VARIABLE}(?:,{_VARIABLE})*\}})*$"
)
_POINTER = r"(?:/(?:[^~/]|~[01])*)*"
_DURATION_DAYS = r"(?:\d+Y(?:\d+M(?:\d+D)?)?|\d+M(?:\d+D)?|\d+D)"
_DURATION_TIME = r"T(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S)"


def _mailbox(ucs: str, label: str) -> Language:
    """RFC 5321, 4.1.2, and with the characters `ucs` RFC 6531, 3.3; a local part has at most 64 characters."""
    atom = rf"[\w!#$%&'*+/=?^`{{|}}~{ucs}-]+"
    quoted = rf'"(?:[ !#-\[\]-~{ucs}]|\\[ -~])*"'
    literal = rf"\[(?:{_IPV4}|[Ii][Pp][Vv]6:{_IPV6})\]"
    host = rf"(?:{label}(?:\.{label})*|{literal})"
    shape = Language.pattern(rf"^(?:{atom}(?:\.{atom})*|{quoted})@{host}$")
    return shape & Language.pattern('^(?:[^"@]{1,64}@|".{0,62}"@)') & Language.length(0, 320)


def _leap_second(date: str, date_len: int) -> Language:
    """A second 60 is 23:59:60 in UTC (RFC 3339, 5.7), so hour and minute say the offset: the next minute is its
    distance from UTC.
    """
    any_other = rf".{{{date_len + 6}}}[0-5]"
    hours, minutes = [], []
    for hour in range(24):
        for own, is_last in (r"(?:[0-4]\d|5[0-8])", False), ("59", True):
            utc = "[Zz]|" if hour == 23 and is_last else ""
            offset = rf"(?:{utc}\+{(hour + is_last) % 24:02}:..|-{23 - hour:02}:..)"
            hours.append(rf"{hour:02}:{own}:60{_FRACTION}{offset}")
    for minute in range(60):
        utc = "[Zz]|" if minute == 59 else ""
        offset = rf"(?:{utc}\+..:{(minute + 1) % 60:02}|-..:{59 - minute:02})"
        minutes.append(rf"..:{minute:02}:60{_FRACTION}{offset}")
    skip = rf".{{{date_len}}}"
    found = Language.pattern(rf"^{date}{_TIME}$")
    for coupled in (hours, minutes):
        found = found & Language.pattern(rf"^(?:{any_other}|{skip}(?:{'|'.join(coupled)})$)")
    return found


def _pattern(source: str) -> Callable[[], Language]:
    return lambda: Language.pattern(source)


FORMATS: dict[str, Callable[[], Language]] = {
    "date": _pattern(rf"^{_DATE}$"),
    "date-time": lambda: _leap_second(rf"{_DATE}[Tt]", 11),
    "duration": _pattern(rf"^P(?:{_DURATION_DAYS}(?:{_DURATION_TIME})?|{_DURATION_TIME}|\d+W)$"),
    "email": lambda: _mailbox("", _LABEL),
    "hostname": lambda: Language.pattern(rf"^{_HOSTNAME}$") & Language.length(0, 253),
    "idn-email": lambda: _mailbox(r"\x80-\u{10FFFF}", idn_label()),
    "idn-hostname": idn_hostname,
    "ipv4": _pattern(rf"^{_IPV4}$"),
    "ipv6": _pattern(rf"^{_IPV6}$"),
    "iri": _pattern(_resource(_UCS, _PRIVATE, False)),
    "iri-reference": _pattern(_resource(_UCS, _PRIVATE, True)),
    "json-pointer": _pattern(rf"^{_POINTER}$"),
    "regex": regex,
    "relative-json-pointer": _pattern(rf"^(?:0|[1-9]\d*)(?:#|{_POINTER})$"),
    "time": lambda: _leap_second("", 0),
    "uri": _pattern(_resource("", "", False)),
    "uri-reference": _pattern(_resource("", "", True)),
    "uri-template": _pattern(_TEMPLATE),
    "uuid": _pattern(r"^[\dA-Fa-f]{8}(?:-[\dA-Fa-f]{4}){3}-[\dA-Fa-f]{12}$"),
}


@lru_cache(maxsize=64)
def format_language(name: str) -> Language | None:
    """The strings of a format; None if it is not known."""
    made = FORMATS.get(name)
    return None if made is None else made()
