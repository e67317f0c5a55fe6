"""What came of it: what is flat, the figures as CSV and JSON, and the picture."""

import csv
import json
import math
import statistics
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soundlink_pipeline.simulator.campaigns import midnight

FLAT = 1.3


def is_usual(record: dict[str, Any]) -> bool:
    """A good refresh of the usual eight days: what is compared over the year."""
    if not record["success"] or record["befalls"]:
        return False
    return (date.fromisoformat(record["end"]) - date.fromisoformat(record["start"])).days == 7


def flatness(records: list[dict[str, Any]]) -> dict[str, float | None]:
    """Last quarter over first: each measure's medians among refreshes of equally many campaigns; None if too few."""
    usual = [record for record in records if is_usual(record)]
    quarter = len(records) // 4
    first_days, last_days = ({record["day"] for record in part} for part in (records[:quarter], records[-quarter:]))
    ratios: dict[str, float | None] = {}
    for name in ("seconds", "cpu_seconds", "peak_mb", "mb_per_1000_rows"):
        pairs: list[tuple[float, int]] = []
        for campaigns in sorted({record["campaigns"] for record in usual}):
            early, late = (
                [record[name] for record in usual if record["day"] in days and record["campaigns"] == campaigns]
                for days in (first_days, last_days)
            )
            if min(len(early), len(late)) >= 3:
                pairs.append((statistics.median(late) / statistics.median(early), min(len(early), len(late))))
        weight = sum(count for _, count in pairs)
        ratios[name] = sum(ratio * count for ratio, count in pairs) / weight if weight else None
    return ratios


def draw(records: list[dict[str, Any]], folder: Path) -> None:
    """One figure of four panels: time, memory, the data and Dagster's storage; days without a refresh are shaded."""
    figure = Figure(figsize=(13, 8.5), layout="constrained")
    good = sum(record["success"] for record in records)
    figure.suptitle(f"{len(records)} simulated days, {good} good refreshes; shaded red: days without one")
    (time_axes, memory), (data, storage) = figure.subplots(2, 2)
    right_of_time, right_of_data = time_axes.twinx(), data.twinx()

    def plot(
        axes: Axes, name: str, label: str, chosen: Callable[[dict[str, Any]], bool], style: str, color: str
    ) -> None:
        shown = [(_noon(record), record[name]) for record in records if chosen(record)]
        days, values = zip(*shown, strict=True) if shown else ((), ())
        axes.plot(days, values, style, label=label, color=f"tab:{color}", markersize=3 if style == "." else 6)

    for axes, name in ((time_axes, "seconds"), (memory, "peak_mb")):
        plot(axes, name, "usual refresh, of eight days", is_usual, ".", "blue")
        plot(axes, name, "with faults, or healing a gap", lambda r: r["success"] and not is_usual(r), "x", "orange")
    plot(time_axes, "cpu_seconds", "CPU time of a usual refresh", is_usual, ".", "green")
    plot(right_of_time, "campaigns", "campaigns asked for (right)", is_usual, "-", "gray")
    plot(data, "warehouse_mb", "warehouse.duckdb", lambda _: True, "-", "blue")
    plot(data, "published_mb", "soundlink.duckdb", lambda r: r["published_mb"], "--", "orange")
    plot(data, "landing_mb", "landing/", lambda _: True, "-", "green")
    plot(right_of_data, "rows_1000", "rows (right)", lambda r: r["success"], "-", "gray")
    plot(right_of_data, "versions_1000", "overwritten versions (right)", lambda r: r["success"], ":", "gray")
    plot(storage, "dagster_mb", "all of it", lambda _: True, "-", "blue")
    plot(storage, "dagster_index_mb", "index.db: materializations and checks", lambda _: True, "-", "orange")
    bounded = any("upkeep_cpu_seconds" in record for record in records)
    for axes, title, unit in (
        (time_axes, "Time of a refresh", "seconds"),
        (memory, "Peak memory of a refresh, imported code included", "MB"),
        (data, "The data", "MB"),
        (storage, "Dagster's storage" + ("" if bounded else ", nothing deleted"), "MB"),
        (right_of_time, "", "campaigns"),
        (right_of_data, "", "thousands"),
    ):
        room = 3 if axes is right_of_time else 1.3  # the line of campaigns stays below the points
        top = axes.dataLim.y1  # infinite where nothing is drawn
        axes.set(title=title, ylabel=unit, ylim=(0, room * top if math.isfinite(top) else 1))
        axes.tick_params(axis="x", labelsize=8)
    for axes, right in ((time_axes, right_of_time), (memory, None), (data, right_of_data), (storage, None)):
        axes.grid(alpha=0.3)
        for day in (_noon(record) for record in records if not record["success"]):
            axes.axvspan(day - timedelta(hours=12), day + timedelta(hours=12), color="tab:red", alpha=0.15, linewidth=0)
        own, others = axes.get_legend_handles_labels(), right.get_legend_handles_labels() if right else ([], [])
        axes.legend(own[0] + others[0], own[1] + others[1], fontsize=8, loc="upper left", ncols=2)
    for ending in ("svg", "png"):
        figure.savefig(folder / f"endurance.{ending}", dpi=130)


def _noon(record: dict[str, Any]) -> datetime:
    return midnight(date.fromisoformat(record["day"])) + timedelta(hours=12)


def report(records: list[dict[str, Any]], red: Counter[str], folder: Path) -> None:
    """Write the measurements and say what they come to."""
    for record in records:
        if record["success"]:
            record["rows_1000"], record["versions_1000"] = record["rows"] / 1000, record["versions"] / 1000
            record["mb_per_1000_rows"] = record["warehouse_mb"] / (record["rows_1000"] + record["versions_1000"])
    columns = list(dict.fromkeys(name for record in records for name in record))
    with (folder / "endurance.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(records)
    ratios = flatness(records)
    befell = Counter(record["befalls"] for record in records if record["befalls"])
    summary = {"befell": befell, "red_checks": red, "flatness": ratios, "days": records}
    (folder / "endurance.json").write_text(json.dumps(summary, indent=1) + "\n")
    draw(records, folder)
    good = [record for record in records if record["success"]]
    print(f"{len(records)} days, {len(good)} with a refresh that succeeded, after each of which every row was true.")
    print("What befell:", ", ".join(f"{kind} {count}" for kind, count in sorted(befell.items())) or "nothing")
    print("Checks that were red:", ", ".join(f"{name} {count}" for name, count in sorted(red.items())) or "none")
    print("| | first | last | per day |\n|---|---|---|---|")
    for name in ("warehouse_mb", "published_mb", "landing_mb", "dagster_mb", "rows", "versions") if good else ():
        first, last = good[0][name], good[-1][name]
        print(f"| {name} | {first:,.1f} | {last:,.1f} | {(last - first) / max(len(good) - 1, 1):,.3f} |")
    print("| last quarter / first quarter, equally many campaigns | ratio | |\n|---|---|---|")
    for name, ratio in ratios.items():
        judged = "too few days" if ratio is None else f"{ratio:.2f} | {'flat' if ratio <= FLAT else 'NOT flat'}"
        print(f"| {name} | {judged} |")
    places: Counter[str] = Counter()
    for path in (folder / ".dagster").rglob("*"):
        if path.is_file():
            place = path.relative_to(folder / ".dagster").parts
            name = "one database per run" if place[:2] == ("storage", "history") and "-" in path.name else path.name
            places["compute logs" if place[0] == "logs" else name] += path.stat().st_size
    print("Dagster's storage:", ", ".join(f"{place} {size / 1e6:,.1f} MB" for place, size in places.most_common(5)))
