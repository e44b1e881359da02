"""The drawings that need no script: the gauge, bars with their thresholds, shares, services and what they depend on.

Each function turns numbers into SVG, with every colour and line width left to the style sheet (classes only, so that
a strict content security policy holds, and light, dark and print look right). A drawing is decoration: the page says
the same numbers beside it in words or in a table, so each is hidden from screen readers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_GAUGE_FROM_DEG, _GAUGE_SWEEP_DEG = 150.0, 240.0  # from lower left over the top to lower right
_GAUGE_END = 1.1  # the scale goes a little past the limit, so that an overrun shows
_CENTRE, _RADIUS = 110.0, 88.0


def level_class(ratio: float, marks: Sequence[float]) -> str:
    """Which colour a share of the budget has: "ok" below the first mark, "stop" from the last, steps between."""
    names = ("ok", "warn1", "warn2", "warn3", "restrict", "stop")
    reached = sum(ratio >= mark for mark in marks)
    if not marks or reached == 0:
        return "ok"
    if reached == len(marks):
        return "stop"
    if reached == len(marks) - 1:
        return "restrict"
    return names[min(reached, 3)]


def _point(share: float, radius: float) -> tuple[float, float]:
    angle = math.radians(_GAUGE_FROM_DEG + _GAUGE_SWEEP_DEG * min(max(share, 0.0), _GAUGE_END) / _GAUGE_END)
    return _CENTRE + radius * math.cos(angle), _CENTRE + radius * math.sin(angle)


def _arc(start: float, end: float, radius: float) -> str:
    (x1, y1), (x2, y2) = _point(start, radius), _point(end, radius)
    large = 1 if _GAUGE_SWEEP_DEG * (end - start) / _GAUGE_END > 180 else 0
    return f"M{x1:.2f} {y1:.2f}A{radius:.2f} {radius:.2f} 0 {large} 1 {x2:.2f} {y2:.2f}"


def gauge(spent: float, held: float, marks: Sequence[float]) -> Markup:
    """How much of a budget is gone: spent, then what calls in flight hold, over its scale with the thresholds."""
    level = level_class(spent, marks)
    top = min(spent, _GAUGE_END)
    parts = [f'<path class="track" d="{_arc(0, _GAUGE_END, _RADIUS)}"/>']
    bands = [*marks, _GAUGE_END]
    for start, end in zip(marks, bands[1:], strict=False):
        if end > start:
            name = level_class(start, marks)
            parts.append(f'<path class="band {name}" d="{_arc(start, min(end, _GAUGE_END), _RADIUS + 14)}"/>')
    if top > 0.001:
        parts.append(f'<path class="value {level}" d="{_arc(0, top, _RADIUS)}"/>')
    if held > 0.001 and top < _GAUGE_END:
        parts.append(f'<path class="held" d="{_arc(top, min(top + held, _GAUGE_END), _RADIUS)}"/>')
    for mark in marks:
        (x1, y1), (x2, y2) = _point(mark, _RADIUS - 12), _point(mark, _RADIUS + 18)
        parts.append(f'<line class="mark" x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}"/>')
    return Markup(
        f'<svg class="gauge" viewBox="0 0 220 172" aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
    )


def bar(spent: float, held: float, marks: Sequence[float]) -> Markup:
    """The gauge laid flat, for a list of budgets."""
    scale = 100 / _GAUGE_END
    top = min(spent, _GAUGE_END)
    parts = ['<rect class="track" x="0" y="3" width="100" height="8" rx="2"/>']
    if top > 0:
        parts.append(
            f'<rect class="value {level_class(spent, marks)}" x="0" y="3" width="{top * scale:.2f}" height="8" rx="2"/>'
        )
    if held > 0.001 and top < _GAUGE_END:
        width = min(held, _GAUGE_END - top) * scale
        parts.append(f'<rect class="held" x="{top * scale:.2f}" y="3" width="{width:.2f}" height="8"/>')
    lines = (mark * scale for mark in marks)
    parts += [f'<line class="mark" x1="{at:.2f}" y1="0" x2="{at:.2f}" y2="14"/>' for at in lines]
    return Markup(
        f'<svg class="bar" viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f"{''.join(parts)}</svg>"
    )


def part(ratio: float, name: str = "plain") -> Markup:
    """A thin bar for one share of a whole."""
    width = 100 * min(max(ratio, 0.0), 1.0)
    return Markup(
        f'<svg class="part" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<rect class="track" width="100" height="6" rx="1"/>'
        f'<rect class="value {name}" width="{width:.2f}" height="6" rx="1"/></svg>'
    )


def donut(shares: Sequence[float]) -> Markup:
    """Shares of a whole as a ring, in the order given; colours follow the order (classes c0, c1, ...)."""
    whole = sum(shares)
    parts = ['<circle class="track" cx="60" cy="60" r="46"/>']
    around, at = 2 * math.pi * 46, 0.0
    for index, share in enumerate(shares):
        if whole <= 0 or share <= 0:
            continue
        length = around * share / whole
        gap = 1.2 if length > 4 and share < whole else 0.0
        parts.append(
            f'<circle class="slice c{index % 8}" cx="60" cy="60" r="46" transform="rotate({360 * at - 90:.2f} 60 60)" '
            f'stroke-dasharray="{length - gap:.2f} {around - length + gap:.2f}"/>'
        )
        at += share / whole
    return Markup(
        f'<svg class="donut" viewBox="0 0 120 120" aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
    )


@dataclass(frozen=True, slots=True)
class Node:
    """One service in the picture: what it is called, how it is, what it needs."""

    name: str
    state: str  # a class name: "running" | "stopped" | "failed" | ...
    needs: tuple[str, ...] = ()


def graph(nodes: Sequence[Node]) -> Markup:
    """Services in columns, each to the right of everything it depends on, with a line to each.

    Nodes must not depend on each other in a circle (`spendgate check` refuses that); unknown names are left out.
    """
    known = {node.name: node for node in nodes}
    depth: dict[str, int] = {}

    def column(name: str, seen: frozenset[str] = frozenset()) -> int:
        if name not in depth and name not in seen:
            needs = [other for other in known[name].needs if other in known]
            depth[name] = 1 + max((column(other, seen | {name}) for other in needs), default=-1)
        return depth.get(name, 0)

    columns: dict[int, list[Node]] = {}
    for node in nodes:
        columns.setdefault(column(node.name), []).append(node)
    width, height, gap_x, gap_y = 150, 36, 60, 16
    place = {
        node.name: (2 + at * (width + gap_x), 2 + row * (height + gap_y))
        for at, rows in columns.items()
        for row, node in enumerate(rows)
    }
    full_x = len(columns) * (width + gap_x) - gap_x + 4
    full_y = max((len(rows) for rows in columns.values()), default=0) * (height + gap_y) - gap_y + 4
    parts = []
    for node in nodes:
        x, y = place[node.name]
        for other in node.needs:
            if other in place:
                ox, oy = place[other][0] + width, place[other][1] + height / 2
                middle = (ox + x) / 2
                parts.append(
                    f'<path class="edge" d="M{ox} {oy}C{middle} {oy} {middle} {y + height / 2} {x} {y + height / 2}"/>'
                )
    for node in nodes:
        x, y = place[node.name]
        parts.append(
            f'<g class="node {escape(node.state)}"><rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
            f'<circle cx="{x + 16}" cy="{y + height / 2}" r="5"/>'
            f'<text x="{x + 30}" y="{y + height / 2 + 4.5}">{escape(_short(node.name, 15))}</text></g>'
        )
    return Markup(
        f'<svg class="graph" viewBox="0 0 {full_x} {full_y}" width="{full_x}" height="{full_y}" '
        f'aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
    )


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
