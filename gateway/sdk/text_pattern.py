"""What a text looks like that becomes a time, a duration, a number or bytes, as far as `format` does not say it.

What matches is read by msgspec and by pydantic alike; some that they would read is left out.
"""

from __future__ import annotations

import datetime

_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_LONG, _SHORT = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])", "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
_MONTH_DAY = f"(?:{_LONG}|{_SHORT}|02-(?:0[1-9]|1[0-9]|2[0-8]))"
_DATE = f"(?:{_YEAR}-{_MONTH_DAY}|{_LEAP_YEAR}-02-29)"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
_OFFSET = "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_N = "[0-9]{1,6}"
_OF_DAY = f"T(?:{_N}H(?:{_N}M(?:{_N}S)?)?|{_N}M(?:{_N}S)?|{_N}S)"

# By format, or by encoding. The server keeps formats, so for most it is enough to leave out what no type takes: a year
# 0, leap seconds.
_NO_YEAR_0, _NO_LEAP_SECOND = "(?!0000)", "[0-5]"
PATTERNS = {
    "base64": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    "date": f"^{_NO_YEAR_0}",
    "date-time": f"^{_NO_YEAR_0}.{{17}}{_NO_LEAP_SECOND}",
    "decimal": r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?$",
    "duration": f"^P(?:{_N}D(?:{_OF_DAY})?|{_OF_DAY})$",
    "time": f"^.{{6}}{_NO_LEAP_SECOND}",
}

# A whole number as the name of a member.
INTEGER = "^-?(?:0|[1-9][0-9]{0,17})$"


def moment(kind: object, tz: bool | None) -> dict[str, object]:
    """The schema of `datetime` or `time` with an offset, without one, or (None) either way.

    Without one it is none of the format's (RFC 3339, section 5.6), and who has to write one makes it up.
    """
    name, start = ("date-time", f"{_DATE}T") if kind is datetime.datetime else ("time", "")
    if tz:
        return {"format": name, "pattern": PATTERNS[name]}
    return {"pattern": f"^{start}{_TIME}{'' if tz is False else f'{_OFFSET}?'}$"}
