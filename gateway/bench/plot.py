"""Line plots as SVG, without a library: panels side by side, axes at round numbers, one colour for each series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 260
LEFT, RIGHT, TOP, BOTTOM = 60, 12, 34, 44
# Told apart also without colour vision (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


@dataclass(frozen=True, slots=True)
class Series:
    """A line: its name and a value for each place on the x axis."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram; x values are positive and rise."""

    title: str
    x_label: str
    x: Sequence[float]
    series: Sequence[Series]


def ticks(highest: float, count: int = 5) -> list[float]:
    """About `count` round steps (1, 2 or 5 times a power of ten) from 0 to at least `highest`."""
    if highest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(highest / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * count >= highest)
    return [round(step * number, 10) for number in range(math.ceil(highest / step - 1e-9) + 1)]


def svg(panels: Sequence[Panel], title: str) -> str:
    """A document with all panels in a row."""
    body = [_panel(panel, number * WIDTH, 24) for number, panel in enumerate(panels)]
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT + 24}" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT + 24}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11" fill="#222">',
            '<rect width="100%" height="100%" fill="#fff"/>',
            _text(WIDTH * len(panels) / 2, 18, title, "middle", size=13),
            *body,
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, left: float, top: float) -> str:
    highest = max((value for series in panel.series for value in series.values), default=0.0)
    marks = ticks(highest)
    x_of, y_of = _x_scale(panel.x), _y_scale(marks[-1])
    parts = [f'<g transform="translate({left:g} {top:g})">', _text(LEFT, 20, panel.title, size=12)]
    for mark in marks:
        y = y_of(mark)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{mark:,g}", "end"))
    for value in panel.x:
        parts.append(f'<path d="M{x_of(value):.1f} {HEIGHT - BOTTOM}v4" stroke="#222"/>')
        parts.append(_text(x_of(value), HEIGHT - BOTTOM + 16, f"{value:g}", "middle"))
    parts.append(f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="#222"/>')
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, panel.x_label, "middle"))
    for number, series in enumerate(panel.series):
        parts += _line(series, panel.x, x_of, y_of, COLOURS[number % len(COLOURS)])
        if len(panel.series) > 1:
            parts.append(_text(WIDTH - RIGHT - 6, TOP + 12 + 14 * number, series.name, "end", COLOURS[number]))
    return "\n".join([*parts, "</g>"])


class _Scale:
    """From values to places: `a + b * value`, of the logarithm where `is_log`."""

    def __init__(self, low: float, high: float, start: float, end: float, *, is_log: bool = False) -> None:
        self._is_log = is_log
        first, last = (math.log(low), math.log(high)) if is_log else (low, high)
        self._factor = (end - start) / (last - first) if last > first else 0.0
        self._first, self._start = first, start if last > first else (start + end) / 2

    def __call__(self, value: float) -> float:
        return self._start + ((math.log(value) if self._is_log else value) - self._first) * self._factor


def _x_scale(x: Sequence[float]) -> _Scale:
    inset = 16
    return _Scale(min(x), max(x), LEFT + inset, WIDTH - RIGHT - inset, is_log=min(x) > 0 and max(x) / min(x) > 8)


def _y_scale(highest: float) -> _Scale:
    return _Scale(0.0, highest, HEIGHT - BOTTOM, TOP)


def _line(series: Series, x: Sequence[float], x_of: _Scale, y_of: _Scale, colour: str) -> list[str]:
    points = [(x_of(across), y_of(value)) for across, value in zip(x, series.values, strict=True)]
    path = " ".join(f"{across:.1f},{up:.1f}" for across, up in points)
    dots = [f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3" fill="{colour}"/>' for across, up in points]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222", size: int = 11) -> str:
    style = f'text-anchor="{anchor}" fill="{colour}" font-size="{size}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
