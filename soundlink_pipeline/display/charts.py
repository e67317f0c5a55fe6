"""Small charts as SVG: measures per day, final and provisional days in different tones; and how a day fills up.

Each picture stands alone: an opaque card with its own light and dark colours, for the Dagster UI (`markdown_image`) and
the report (`data_uri`) alike. SVG, because it is sharp on every screen and smaller than a picture of pixels.
"""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # takes a second, which loading Dagster's definitions should not pay
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAST_DAYS = 60
_EPOCH = date(1970, 1, 1)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WIDE, NARROW = 5.6, 3.5  # inches: for the Dagster UI, and for a page that is also read on a phone
_TITLE = 0.3  # inches
_FEWEST_DAYS = 14  # on the axis, so that a single day is a bar and not a wall

# Matplotlib draws in these stand-ins; in the file they are variables: name, light, dark.
_COLOURS = {
    "#000001": ("card", "#ffffff", "#191d24"),
    "#000002": ("ink", "#414956", "#c3cad6"),
    "#000003": ("rule", "#e3e6eb", "#313845"),
    "#000004": ("first", "#4f46e5", "#8f8bff"),
    "#000005": ("first-soft", "#e2e0fb", "#2f2d5e"),
    "#000006": ("second", "#0b8457", "#3ecf8e"),
    "#000007": ("second-soft", "#d3efe3", "#164534"),
    "#000008": ("third", "#c2410c", "#fb923c"),
    "#000009": ("fourth", "#a21caf", "#e879f9"),
}
_CARD, _INK, _RULE, _FIRST, _FIRST_SOFT, _SECOND, _SECOND_SOFT, _THIRD, _FOURTH = _COLOURS
_BARS = ((_FIRST, _FIRST_SOFT), (_SECOND, _SECOND_SOFT))
_LINES = ((_FIRST, "o"), (_SECOND, "s"), (_THIRD, "^"), (_FOURTH, "D"))


def days_chart(
    days: pd.DataFrame,
    measures: Mapping[str, str],
    *,
    last_days: int = LAST_DAYS,
    tones: Sequence[int] = (0, 1),
    width: float = WIDE,
) -> bytes:
    """Measures per UTC day, a panel each, newest `last_days`: solid where final, hatched where still provisional.

    `days` has report_date, is_settled and the columns that `measures` gives titles to; rows of one day are added up,
    and are final when all of them are. A day without a row is a gap. Money must be of one currency.
    `tones` are the panels' colours: 0 or 1.
    """
    from matplotlib.patches import Patch  # noqa: PLC0415

    daily = newest_days(days, list(measures), last_days)
    figure, panels = _card(len(measures), width=width, height=1.85)
    for axes, (column, title), tone in zip(panels, measures.items(), tones, strict=False):
        strong, soft = _BARS[tone]
        edges = _midnights(daily)
        for settled, look in ((True, _solid(strong)), (False, _hatched(strong, soft))):
            shown = daily[column].where(daily["is_settled"] == settled)
            if shown.notna().any():
                axes.stairs(shown.to_numpy(), edges, fill=True, **look)
        axes.set_title(title, loc="left", y=1, color=_INK, fontsize=10, pad=7)
        if not daily[column].any():
            axes.set_ylim(0, 1)
        _date_axis(axes, edges)
    strong, soft = _BARS[tones[0]]
    _legend(figure, [Patch(label="final", **_solid(strong)), Patch(label="provisional", **_hatched(strong, soft))])
    _place(figure, below=0.32)
    return _svg(figure)


def filling_chart(curve: pd.DataFrame, measures: Mapping[str, str], *, width: float = WIDE) -> bytes:
    """How much of its final value each measure shows, by days since the day closed; a line each.

    `curve` has measure, days_after_close and shortfall_share, as the mart `revision_curve`, where 0 ends one
    day after the close.
    """
    figure, (axes,) = _card(1, width=width, height=2.3)
    for (measure, label), (colour, marker) in zip(measures.items(), itertools.cycle(_LINES), strict=False):
        own = curve[curve["measure"] == measure].sort_values("days_after_close")
        shown = (1 - own["shortfall_share"].astype(float)) * 100
        axes.plot(
            own["days_after_close"] + 1, shown, color=colour, marker=marker, markersize=4, linewidth=1.6, label=label
        )
    axes.axhline(100, color=_INK, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    axes.set_title("Share of the final value, %", loc="left", y=1, color=_INK, fontsize=10, pad=7)
    axes.set_xlabel("days since the day closed", color=_INK, fontsize=9)
    axes.set_xticks(range(1, int(curve["days_after_close"].max()) + 2))
    _legend(figure, axes.get_legend_handles_labels()[0])
    _place(figure, below=0.55)
    return _svg(figure)


def _solid(strong: str) -> dict[str, Any]:
    return {"facecolor": strong, "edgecolor": "none"}


def _hatched(strong: str, soft: str) -> dict[str, Any]:
    return {"facecolor": soft, "edgecolor": strong, "hatch": "//////", "linewidth": 0.8}


def data_uri(svg: bytes) -> str:
    """The picture as a data URI, which needs no request."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def markdown_image(svg: bytes, alt: str) -> str:
    """The picture for Markdown metadata; `alt` is its text for screen readers."""
    plain = re.sub(r"[\[\]\\`<>\s]+", " ", alt).strip()
    return f"![{plain}]({data_uri(svg)})"


def newest_days(days: pd.DataFrame, columns: list[str], last_days: int) -> pd.DataFrame:
    """One row per day from the first shown to the last; missing days have no values and count as final."""
    measures = days[columns].astype(float)
    import pandas as pd  # noqa: PLC0415

    dates = pd.to_datetime(days["report_date"]).rename("report_date")
    daily = measures.groupby(dates).sum(min_count=1)
    daily["is_settled"] = days["is_settled"].astype(bool).groupby(dates).all()
    if daily.empty:
        return daily.astype({"is_settled": bool})
    newest = daily.index.max()
    first = max(daily.index.min(), newest - timedelta(days=last_days - 1))
    daily = daily.reindex(pd.date_range(first, newest, freq="D"))
    return daily.assign(is_settled=daily["is_settled"].eq(True) | daily[columns].isna().all(axis=1))


def _midnights(daily: pd.DataFrame) -> list[float]:
    """Each day's start and the last one's end, in Matplotlib's days since 1970."""
    if daily.empty:
        return [0.0]
    first = (daily.index[0].date() - _EPOCH).days
    return [float(first + offset) for offset in range(len(daily) + 1)]


def _card(panels: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    # Figure without pyplot: no state between charts, no window system, safe in threads.
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415

    figure = Figure(figsize=(width, 0.25 + height * panels), facecolor=_CARD)
    drawn = [figure.add_subplot(panels, 1, place + 1, facecolor=_CARD) for place in range(panels)]
    for axes in drawn:
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.spines["bottom"].set_color(_RULE)
        axes.tick_params(colors=_INK, labelsize=9, length=0, pad=5)
        axes.grid(axis="y", color=_RULE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
        axes.yaxis.set_label_coords(0, 0)  # there is none, and its place need not be found
    return figure, drawn


def _date_axis(axes: Axes, edges: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415

    if len(edges) == 1:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no days yet", color=_INK, transform=axes.transAxes, ha="center", va="center")
        return
    axes.set_xlim(min(edges[0], edges[-1] - _FEWEST_DAYS), edges[-1])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 7, 10]))
    axes.xaxis.set_label_coords(0, 0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda days, _: short_day(_EPOCH + timedelta(days=days))))


def short_day(day: date) -> str:
    """1 Nov, in every locale."""
    return f"{day.day} {_MONTHS[day.month - 1]}"


def _place(figure: Figure, *, below: float) -> None:
    """Give the labels the room they need, `below` inches under each panel.

    Matplotlib can find that out by drawing everything twice, which is half the time that a chart takes.
    """
    width, height = figure.get_size_inches()
    digits = max(len(f"{tick:,.12g}") for axes in figure.axes for tick in (0, *axes.get_yticks()))
    panel = height / len(figure.axes)
    figure.subplots_adjust(
        left=(0.22 + 0.085 * digits) / width,
        right=1 - 0.16 / width,
        top=1 - (0.32 + _TITLE) / height,
        bottom=below / height,
        hspace=(below + _TITLE) / (panel - below - _TITLE),
    )


def _legend(figure: Figure, handles: Sequence[Artist]) -> None:
    figure.legend(
        handles=list(handles),
        loc="upper left",
        borderaxespad=0.4,
        ncols=4,
        frameon=False,
        labelcolor=_INK,
        fontsize=9,
        handlelength=1.1,
        handletextpad=0.5,
        columnspacing=0.9,
    )


def _svg(figure: Figure) -> bytes:
    from matplotlib import rc_context  # noqa: PLC0415

    drawn = io.StringIO()
    # Text stays text; ids and no date make equal charts equal bytes.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "soundlink", "hatch.linewidth": 0.7}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :]
    for stand_in, (name, _, _) in _COLOURS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    svg = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font: \1 system-ui, sans-serif", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    light, dark = (";".join(f"--{name}:{pair[mode]}" for name, *pair in _COLOURS.values()) for mode in (0, 1))
    style = f"<style>svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    return svg.replace(">", f">{style}", 1).encode()
