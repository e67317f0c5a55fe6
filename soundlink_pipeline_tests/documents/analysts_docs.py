"""The small made-up account that docs/analysts.md shows the answers of, and how they get there.

`python -m soundlink_pipeline_tests.documents.analysts_docs` runs every query of docs/analysts.md and writes its output
under it (in README.md, only where there is one already).
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.models.build import build_models
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.own_data.loading import load_own_files
from soundlink_pipeline.publishing.file_copy import publish
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.simulator import BREAKDOWN, KeyInfo, SimClock, Simulator, World, running_simulator
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY, pull, utc

DOCUMENT = REPOSITORY / "docs" / "analysts.md"
README = REPOSITORY / "README.md"
SQL_FOLDER = REPOSITORY / "dbt_like_sql"
STATEMENT = Path(__file__).parents[1] / "fixtures" / "distributor_statements.csv"

# The refreshes between them leave 14 settled days that were pulled while new: as many as an estimate needs.
BACKFILLED_ON, LAST_REFRESH = date(2026, 2, 23), date(2026, 3, 16)
VANISHES_ON = date(2026, 3, 13)
_SQL = re.compile(r"```sql\n(?P<sql>.*?)```\n(?:\n(?P<output>(?:\|[^\n]*\|\n)+))?", re.DOTALL)


def small_account(folder: Path) -> Path:
    """Pull a made-up account of seven campaigns and five soundlinks, build the models and publish.

    Returns the published file, which has a distributor's statement of two of its tracks, too.
    53 days are backfilled on 23 February 2026, and then comes the daily refresh of each morning, to 16 March. Every
    value is a function of the simulator's seed and of its clock, which stands still in between.
    """
    world = World(seed=1, campaigns=10, soundlinks=8, countries_per_campaign=5, tracks_per_campaign=12)
    # Without those whose names are there to break naive readers: they would break the page, too.
    world.campaigns[:] = [campaign for index, campaign in enumerate(world.campaigns) if index not in (3, 4, 6)]
    world.soundlinks[:] = [soundlink for index, soundlink in enumerate(world.soundlinks) if index not in (0, 1, 3)]
    clock = SimClock(utc("2026-03-02T07:00"))
    with running_simulator(world, clock, keys={KEY: KeyInfo()}, per_minute=None, per_hour=None) as sim:
        settings = Settings(
            base_url=sim.base_url, data_dir=folder, requests_per_minute=100_000, requests_per_hour=100_000
        )
        soundlink = Soundlink(settings, lambda _: KEY)
        pull(soundlink, "2026-01-01", str(BACKFILLED_ON - timedelta(days=1)), "backfill", EXPORTS)
        morning = BACKFILLED_ON
        while morning < LAST_REFRESH:
            morning += timedelta(days=1)
            clock.set(utc(f"{morning}T07:00"))
            if morning == VANISHES_ON:
                _take_back_a_row(sim, world)
            pull(
                soundlink,
                str(morning - timedelta(days=8)),
                str(morning - timedelta(days=1)),
                f"refresh-{morning}",
                EXPORTS,
            )
    project = read_project(SQL_FOLDER)
    assert project.errors == {}
    own = folder / "own"
    own.mkdir()
    shutil.copyfile(STATEMENT, own / STATEMENT.name)
    with soundlink.warehouse.write() as connection:
        load_own_files(connection, own, folder / "tmp", now=utc(f"{morning}T07:04"), statements_changed=lambda: None)
        build_models(connection, project)
    publish(soundlink.warehouse, soundlink.published_path, run_id=f"refresh-{morning}", now=utc(f"{morning}T07:05"))
    return soundlink.published_path


def _take_back_a_row(sim: Simulator, world: World) -> None:
    """From now on one row that was delivered before is no longer: the API took it back."""
    taken = {"report_date": "2026-03-08", "country_code": "NA"}

    def edit(body: bytes) -> bytes:
        lines = [line for line in body.splitlines(keepends=True) if not taken.items() <= json.loads(line).items()]
        return b"".join(lines)

    sim.faults.add("edit", export=BREAKDOWN, campaign=world.campaigns[0].uuid, times=None, edit=edit)


@dataclass(frozen=True)
class Shown:
    """A query of a document, with the output written under it; empty where there is none."""

    sql: str
    output: str

    @property
    def name(self) -> str:
        """Its first comment, in short."""
        return re.sub(r"\W+", " ", self.sql.strip().splitlines()[0]).strip()[:60]


def shown_in(document: Path) -> list[Shown]:
    text = document.read_text(encoding="utf-8")
    return [Shown(match["sql"], match["output"] or "") for match in _SQL.finditer(text)]


def output_of(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """What the query answers, as a Markdown table."""
    answer = connection.execute(sql)
    names = [str(name) for name, *_ in answer.description or []]
    rows = answer.fetchall()
    lines = [names, *([_text(value) for value in row] for row in rows)]
    numbers = [all(_is_number(row[i]) for row in rows) for i in range(len(names))]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(names))]
    dashes = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, numbers, strict=True)]

    def line_of(cells: list[str]) -> str:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numbers, strict=True)
        )
        return f"| {' | '.join(padded)} |\n"

    return "".join(line_of(cells) for cells in (lines[0], dashes, *lines[1:]))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | Decimal) and not isinstance(value, bool))


def _text(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat(sep=" ")
        case _:
            return str(value).replace("|", "\\|")


def with_outputs(document: Path, connection: duckdb.DuckDBPyConnection, *, everywhere: bool) -> str:
    """The document with the output of each query under it: of all, or of those that had one already."""

    def renewed(match: re.Match[str]) -> str:
        if not (everywhere or match["output"]):
            return match[0]
        return f"```sql\n{match['sql']}```\n\n{output_of(connection, match['sql'])}"

    return _SQL.sub(renewed, document.read_text(encoding="utf-8"))


def python_examples(document: Path) -> Iterator[str]:
    yield from re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        published = small_account(Path(folder))
        with duckdb.connect(str(published), read_only=True) as connection:
            for document, everywhere in ((DOCUMENT, True), (README, False)):
                document.write_text(with_outputs(document, connection, everywhere=everywhere), encoding="utf-8")


if __name__ == "__main__":
    main()
