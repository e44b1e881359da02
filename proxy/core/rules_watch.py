"""Compiles `watch`: windows and bounds, or that nothing is told."""

from __future__ import annotations

from proxy.core.rules_checks import Plain, Problem
from proxy.core.watch_model import BURN_WINDOWS, LONGEST_HOURS, USUAL, Anomalies, BurnWindow, Watch, burn_window


def compile_watch(section: Plain | None, problems: list[Problem]) -> Watch:
    """What the section says, and the usual where it says nothing."""
    burn, odd = (section or {}).get("burn"), (section or {}).get("anomalies")
    windows: tuple[BurnWindow, ...] = BURN_WINDOWS
    for name, part in (("burn", burn), ("anomalies", odd)):
        if part is not None and part["off"] and any(value is not None for key, value in part.items() if key != "off"):
            problems.append(Problem(("watch", name), "off_and_more"))
    if burn is not None and burn["off"]:
        windows = ()
    elif burn is not None and burn["windows"]:
        for index, one in enumerate(burn["windows"]):
            if one["hours"] > LONGEST_HOURS:
                at = ("watch", "burn", "windows", index, "hours")
                problems.append(Problem(at, "burn_too_long", {"got": str(one["hours"]), "most": str(LONGEST_HOURS)}))
        windows = tuple(burn_window(one["hours"], one["factor"]) for one in burn["windows"])
    if odd is None:
        return Watch(windows)
    if odd["off"]:
        return Watch(windows, None)
    return Watch(
        windows,
        Anomalies(
            odd["times"] or USUAL.times,
            odd["deviations"] or USUAL.deviations,
            odd["floor"] or USUAL.floor_bp,
        ),
    )
