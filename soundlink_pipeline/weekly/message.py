"""The week as a message: text for chats, JSON for webhooks, and a mail with pictures and the whole page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jinja2

from soundlink_pipeline.channels.harmless import clean, cut, for_slack, without_mentions
from soundlink_pipeline.channels.receiver import File, Message
from soundlink_pipeline.weekly.figures import Line, Week
from soundlink_pipeline.weekly.picture import HEIGHT, WIDTH, bars

_LONGEST_NAME = 60


def message_of(week: Week, page: str) -> Message:
    """`page` is the report as HTML; whoever takes files gets it as report.html."""
    answer = week.answer
    title = f"Soundlink, {answer.first} to {answer.last}"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = tuple(
        File(f"{series.cid}.png", "image/png", bars(series.values, is_final=series.is_final), series.cid)
        for series in week.series
    )
    shown = {"title": title, "week": week, "answer": answer, "notes": notes(week), "name": _names(week).__getitem__}
    html = environment.get_template("mail.html.jinja").render(**shown, width=WIDTH // 2, height=HEIGHT // 2)
    return Message(
        title=title,
        text=_text(week, without_mentions),
        slack=for_slack(f"{title}\n{_text(week, str)}"),
        facts={"week": week.period, "from": str(answer.first), "to": str(answer.last), "figures": _facts(week)},
        html=html,
        pictures=pictures,
        files=(File("report.html", "text/html", page.encode()),),
    )


def notes(week: Week) -> list[str]:
    """What a reader must know of the figures, one sentence each."""
    answer = week.answer
    found = []
    if answer.has_before:
        found.append(f"Before: the seven days {answer.before[0]} to {answer.before[1]}.")
    else:
        found.append("Not compared: the seven days before were not all pulled, or nothing had begun by then.")
    if answer.lacking:
        found.append(f"{answer.lacking} of these days lack rows that were expected, so that a change may be theirs.")
    if answer.is_settled:
        found.append("These numbers do not change any more.")
    else:
        found.append("Recent days may still change.")
    if answer.has_estimates:
        found.append("Expected is what the days will be once settled, a little low.")
    return found


def _text(week: Week, escape: Callable[[str], str]) -> str:
    lines = [_line(line) for line in week.lines]
    names = _names(week)
    for row in week.campaigns:
        lines.append(
            f"- {names[row['id']]}: {row['spend']}, {row['followers']} followers at {row['cost']}, {row['streams']}"
            f" streams ({row['status']})"
        )
    if week.more_campaigns:
        lines.append(f"and {week.more_campaigns:,} more, in the report")
    return escape("\n".join([*lines, *notes(week)]))


def _line(line: Line) -> str:
    expected = "" if line.expected in ("final", "not known") else f", expected {line.expected}"
    change = f", {line.change} against {line.before}" if line.change else ""
    return f"{line.name}: {line.now}{expected}{change}"


def _facts(week: Week) -> list[dict[str, str]]:
    return [vars(line) for line in week.lines]


def _names(week: Week) -> dict[str, str]:
    """By id how each campaign is called: by its id too where others look the same, and by that alone without a name."""
    names = {row["id"]: cut(clean(row["name"]), _LONGEST_NAME) for row in week.campaigns}
    often = Counter(names.values())
    return {own: f"{name} ({own})" if name and often[name] > 1 else name or own for own, name in names.items()}
