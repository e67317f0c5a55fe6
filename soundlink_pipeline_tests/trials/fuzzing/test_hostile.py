"""Names and ids that look like something else (SQL, paths, markup), through a whole run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import dagster as dg
import duckdb
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS, SUBJECTS
from soundlink_pipeline.display.markdown import markdown_table
from soundlink_pipeline.report.__main__ import main as write_report
from soundlink_pipeline.simulator import World
from soundlink_pipeline_tests.support.project import (
    REPOSITORY,
    Project,
    each_day,
    failures_of,
    project,
    pull,
    small_world,
    truth,
    utc,
)

NAMES = [
    "'; drop table campaigns; --", "../../etc/passwd", "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "{{ 7 * 191 }}{% raw %}${HOME} %s", "a|b\n| c | d", "\x00 \u202eevil\u202c 🎧\u2028",
    "![x](http://x.invalid/p) <b>`z`", "007",
]  # fmt: skip
LISTED = [
    "'; drop table deliveries; --",
    "..",
    "<b onclick=alert(2)>",
    "{{ 7 * 191 }}",
    "a|b\nc",
    "\x00🎧",
    "%2e%2e%2f%s",
    "1e5",
]
IN_ROWS = [
    "'; drop table x; --",
    "../../up",
    "<script>alert(3)</script>",
    "{{ 7 * 191 }}",
    "a|b",
    "%s${HOME}",
    "![x](y)",
    "12e4",
]


def hostile_world(names: Sequence[str] = NAMES, listed: Sequence[str] = LISTED) -> World:
    """An account whose names and ids all mean something to somebody: SQL, paths, markup, templates, numbers."""
    world = small_world(len(names))
    world.campaigns = [
        replace(
            campaign,
            name=name,
            path_id=path_id,
            uuid=uuid,
            tracks=tuple(replace(track, name=f"{name}{track.name}") for track in campaign.tracks),
        )
        for campaign, name, path_id, uuid in zip(world.campaigns, names, listed, IN_ROWS, strict=True)
    ]
    world._by_id = {known: campaign for campaign in world.campaigns for known in campaign.ids}
    return world


FIRST, LAST, NOW = "2026-02-20", "2026-02-21", utc("2026-03-02T06:00")


@dataclass
class HostileRun:
    here: Project
    result: dg.JobExecutionResult
    around: list[Path]  # what lay beside the project's own folder before


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileRun]:
    folder = tmp_path_factory.mktemp("outside") / "project"
    folder.mkdir()
    with project(folder, hostile_world(), REPOSITORY / "dbt_like_sql") as here:
        around = sorted(folder.parent.rglob("*"))
        yield HostileRun(here, here.refresh(FIRST, LAST), around)


def test_hostile_names_and_ids_are_data_in_every_table(hostile: HostileRun) -> None:
    here = hostile.here
    assert hostile.result.success, failures_of(hostile.result)
    for export in EXPORTS:
        assert here.table(export) == truth(here.sim.world, export, each_day(FIRST, LAST, NOW))
    assert {row[0] for row in here.query("select campaign_id from campaigns")} == set(LISTED)
    with_rows = here.query("select distinct campaign_name from campaign_country_daily order by 1")
    assert len(with_rows) > 4
    with duckdb.connect(str(here.data / "soundlink.duckdb"), read_only=True) as published:
        everything = {name for (name,) in published.execute("select table_name from duckdb_tables()").fetchall()}
        assert {"campaigns", "deliveries", "publication", *(export.name for export in EXPORTS)} <= everything
        found = published.execute(
            "select campaign_name from marts.campaign_summary where spend_total > 0 order by 1"
        ).fetchall()
        assert found == with_rows


def test_hostile_ids_name_no_file_but_their_own(hostile: HostileRun) -> None:
    """Every delivery lies three folders deep, under its campaign's id; outside of the project nothing is new."""
    here = hostile.here
    of_subjects = {folder for subject in SUBJECTS for folder in (subject.plural, f"{subject.name}_details")}
    landed = [path for path in (here.data / "landing").rglob("*.zst") if path.parent.name not in of_subjects]
    assert {unquote(path.parent.name) for path in landed} <= set(LISTED)
    assert {len(path.relative_to(here.data / "landing").parts) for path in landed} == {3}
    assert [path for path in sorted(here.folder.parent.iterdir()) if path not in hostile.around] == []


class Page(HTMLParser):
    """A page's tags and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_names_are_text_in_the_report(hostile: HostileRun, tmp_path: Path) -> None:
    assert (
        write_report(["--database", str(hostile.here.data / "soundlink.duckdb"), "--output", str(tmp_path / "r")]) == 0
    )
    page = Page((tmp_path / "r").read_text(encoding="utf-8"))
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]  # its own
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "object", "embed"})
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert (attributes.get("src") or "data:").startswith("data:")
    assert "1337" not in page.text
    text = " ".join(page.text.split())
    for (name,) in hostile.here.query("select distinct campaign_name from campaign_country_daily"):
        assert " ".join(name.split()) in text


def previews(result: dg.JobExecutionResult) -> Iterator[str]:
    """Every table that the UI shows beside an asset or a check."""
    for event in result.all_events:
        metadata: Mapping[str, dg.MetadataValue] = {}
        if event.event_type_value == "ASSET_MATERIALIZATION":
            metadata = event.step_materialization_data.materialization.metadata
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            metadata = event.asset_check_evaluation_data.metadata
        yield from (
            value.value
            for value in metadata.values()
            if isinstance(value, dg.MarkdownMetadataValue) and value.value.startswith("|")
        )


def test_hostile_names_break_no_preview(hostile: HostileRun) -> None:
    tables = list(previews(hostile.result))
    assert len(tables) > 2
    for table in tables:
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()} == {
            table.splitlines()[0].count("|")
        }
        assert not re.search(r"(?<!\\)(<|!\[|\]\()", table), table


@pytest.mark.parametrize(
    "name", [*NAMES, "12e4", "nan", "0012", "12345678901234567890", "a\\|b", "\r\n", "_x_", "&lt;"]
)
def test_a_text_is_shown_to_the_letter_in_a_preview(name: str) -> None:
    """As Markdown is read: a backslash before punctuation is none, and only what bears one is text."""
    table = markdown_table(["name", "spend"], [(name, Decimal("1234567.890000")), ("plain", None)])
    _, _, line, _ = table.split("\n")
    shown, spend = re.split(r"(?<!\\)(?:\\\\)*\|", line.strip()[1:-1])
    assert spend.strip() in ("1234567.89", "1234567.890000")
    assert not re.search(r"(?<!\\)([<!\[`*&]|\b_|_\b)", shown)
    assert " ".join(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", shown).split()) == " ".join(name.split())


def test_an_id_that_no_folder_or_path_can_be_costs_the_other_campaigns_nothing(tmp_path: Path) -> None:
    listed = ["../../up", "/etc/passwd", "x" * 5000, "a/b", "camp_1", "camp_2", "camp_3", "camp_4"]
    folder = tmp_path / "project"
    folder.mkdir()
    with project(folder, hostile_world(listed=listed)) as here:
        done = pull(here.soundlink, FIRST, LAST)
        assert {item.subject_id for item in done.failed} == set(listed[:4])
        assert {item.delivery.subject_id for item in done.loaded} <= set(listed[4:])
        assert len(done.loaded) > 4
    assert sorted(tmp_path.iterdir()) == [folder]
