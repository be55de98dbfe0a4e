"""The regression test of the book: what the pages recorded, beside what was accepted."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otad.ledger import floats
from otad.publish import root
from otad.publish.execute import write
from otad.publish.records import read_all

# What of a verdict is compared exactly; its interval moves with the last digits of a machine, its word must not. (Where the margins
# are times, a noisy machine may widen the interval until it decides nothing; what it may not do is turn the verdict round, or take the
# worst ratio out of the bounds that its page states.)
EXACT = ("claim", "verdict", "kind", "n", "k")
ABSOLUTE = 1e-9


def path(scale: str) -> Path:
    """Return where the accepted values of a scale are kept."""
    return root() / "tests" / "expected" / f"{scale}.json"


def current(
    scale: str, folder: Path | None = None, names: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return key to {page, value, tolerance, timing, bounds} of the last build at this scale, or as `read_all` says."""
    return {
        key: {"page": page.name, **{k: v for k, v in entry.items() if k != "key"}}
        for page in read_all(scale, folder, names)
        for key, entry in page.records.items()
    }


def accept(scale: str) -> Path:
    """Write the recorded values as the expected ones. Timings are not kept: they belong to a machine."""
    kept = {
        key: {"page": e["page"], "value": _kept(e["value"]), "tolerance": e["tolerance"]}
        for key, e in sorted(current(scale).items())
        if not _bounded(e)
    }
    target = path(scale)
    write(target, (json.dumps(kept, indent=1, ensure_ascii=False) + "\n").encode())
    return target


def _bounded(entry: dict[str, Any]) -> bool:
    """Tell whether a value is compared with its bounds alone: a timing, or an error of rounding."""
    return entry["timing"] or entry.get("below") is not None


def _kept(value: Any) -> Any:
    """Of a verdict keep what is compared: the exact parts and the mean margin, if that is not a time."""
    if isinstance(value, dict) and "verdict" in value:
        kept = (*EXACT, "timed") if "timed" in value else (*EXACT, "mean")
        return {k: value[k] for k in kept if k in value}
    return value


def accepted(scale: str, names: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Return key to {page, value, tolerance} of the accepted values, of some pages or of all."""
    target = path(scale)
    if not target.is_file():
        raise ValueError(f"{target} does not exist: look at the book, then `make accept SCALE={scale}`")
    entries = json.loads(target.read_text(encoding="utf-8"))
    return {key: e for key, e in entries.items() if names is None or e["page"] in names}


def deviations(
    scale: str, folder: Path | None = None, names: Sequence[str] | None = None
) -> dict[str, float]:
    """Return key to the worst relative difference between accepted and recorded numbers, of all that are compared."""
    known, now = accepted(scale, names), current(scale, folder, names)
    return {
        key: _deviation(known[key]["value"], _kept(entry["value"]))
        for key, entry in now.items()
        if key in known and not _bounded(entry)
    }


def _deviation(expected: Any, now: Any) -> float:
    was, got = floats(expected), floats(now)
    if len(was) != len(got):
        return math.inf
    pairs = zip(was, got, strict=True)
    return max((abs(w - g) / max(abs(w), abs(g)) for w, g in pairs if abs(w - g) > ABSOLUTE), default=0.0)


def differences(scale: str, folder: Path | None = None, names: Sequence[str] | None = None) -> list[str]:
    """Return a line for every recorded value that is missing, new or off; none when all is as accepted.

    Of the last build at this scale; or of the pages `names`, executed into another folder.
    """
    expected, now = accepted(scale, names), current(scale, folder, names)
    lines = [
        f"{key}: expected by {expected[key]['page']}, not recorded" for key in expected if key not in now
    ]
    for key, entry in now.items():
        if _bounded(entry):
            lines += _out_of_bounds(key, entry)
        elif key not in expected:
            lines.append(f"{key}: recorded by {entry['page']}, not accepted yet")
        else:
            tolerance, was, got = expected[key]["tolerance"], expected[key]["value"], _kept(entry["value"])
            if _undecided(was, got):
                got = was
            lines += [f"{key} ({entry['page']}): {d}" for d in _unlike(was, got, tolerance)]
            lines += _ratio_out_of_bounds(key, entry)
    return lines


def notices(scale: str) -> list[str]:
    """Return what the pages tell of live rows that training has carried farther from the stored ones than its spread explains."""
    return [
        f"{entry['page']}: {line}"
        for key, entry in current(scale).items()
        if key.startswith("agreement ")
        for line in entry["value"]["beyond"]
    ]


def _undecided(was: Any, got: Any) -> bool:
    """Tell whether two verdicts about time differ only in that one of them is inconclusive, or that one machine could not judge."""
    timed = all(isinstance(v, dict) and ("timed" in v or v.get("kind") == "undecided") for v in (was, got))
    return timed and "inconclusive" in (was["verdict"], got["verdict"]) and was["claim"] == got["claim"]


def _ratio_out_of_bounds(key: str, entry: dict[str, Any]) -> list[str]:
    """Compare the worst mean margin of a verdict about time with the bounds that its page states."""
    value = entry["value"]
    if not isinstance(value, dict) or "timed" not in value:
        return []
    return _out_of_bounds(key, entry | {"value": value["mean"], "bounds": value["timed"]})


def _out_of_bounds(key: str, entry: dict[str, Any]) -> list[str]:
    low, high = entry.get("bounds") or (None, entry.get("below"))
    return [
        f"{key} ({entry['page']}): {value:.3g} is outside [{low}, {high}]"
        for value in floats(entry["value"])
        if (low is not None and value < low) or (high is not None and value > high)
    ]


def _unlike(expected: Any, now: Any, tolerance: float, where: str = "") -> list[str]:
    """Return where two JSON values differ, numbers by more than `tolerance` of the expected one."""
    if isinstance(expected, dict) and isinstance(now, dict) and expected.keys() == now.keys():
        return [line for k in expected for line in _unlike(expected[k], now[k], tolerance, f"{where}.{k}")]
    if isinstance(expected, list) and isinstance(now, list) and len(expected) == len(now):
        pairs = enumerate(zip(expected, now, strict=True))
        return [line for i, (e, n) in pairs for line in _unlike(e, n, tolerance, f"{where}[{i}]")]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (expected, now))
    same = math.isclose(expected, now, rel_tol=tolerance, abs_tol=ABSOLUTE) if numeric else expected == now
    return (
        []
        if same
        else [f"{where.lstrip('.')} expected {expected!r}, got {now!r} (tolerance {tolerance:g})".lstrip()]
    )
