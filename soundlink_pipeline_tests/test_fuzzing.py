"""Fuzzing: whatever the bytes of a delivery, it is loaded exactly or refused whole. Never a wrong value, crash or hang.

`fuzzing.py` makes the deliveries and says, without the pipeline's code, what must become of them. `--inputs` says how
many are tried (`make fuzz`: 100,000). A failure prints the seed and the input, made as small as it gets;
`damaged(seed)` is that delivery again. What was found once is kept below as a case of its own.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote

import dagster as dg
import duckdb
import pytest

from soundlink_pipeline import export_sql, first_load
from soundlink_pipeline.exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY, EXPORTS, Export
from soundlink_pipeline.loading import Arrival, load_batch
from soundlink_pipeline.report import main as write_report
from soundlink_pipeline.simulator import World
from soundlink_pipeline.tables import markdown_table
from soundlink_pipeline.warehouse import Warehouse
from soundlink_pipeline_tests.deliveries import NOON, arrival, sample_line
from soundlink_pipeline_tests.fuzzing import DAYS, OPEN, Damaged, Verdict, damaged
from soundlink_pipeline_tests.project import (
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

BREAKDOWN, ENGAGEMENT = CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
PER_TEST = 2000
# A batch takes a second or two; what takes so long hangs.
_DEADLINE_SECONDS = 120.0
# Making the input small is a kindness; of many failures the first few will do.
_SHRINKING_SECONDS = 15.0
_MOST_SHRUNK = 5
# Where one file of a batch is so, the pipeline reads each alone: they are kept together.
_UNREADABLE = {"not JSON", "not UTF-8", "not an object", "a field is there twice", "no Unicode"}
_UNREADABLE |= {"unknown field of no Unicode", "unknown field too large"}
_NOT_FOR_A_LOG = r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_JSON_TYPE = re.compile(r"(?is)-?[0-9.]+(e[-+]?[0-9]+)?|-?(true|false|nan|inf|infinity)|\{.*\}|\[.*\]")


@dataclass(frozen=True)
class Outcome:
    """What became of a delivery: rows by key as the table has them, or why it was refused."""

    rows: dict[tuple[Any, ...], tuple[Any, ...]] | None
    delivered: int = 0
    unknown_fields: tuple[str, ...] = ()
    ledger: tuple[Any, ...] | None = None
    reason: str = ""


@dataclass
class Loader:
    """A warehouse that is kept open and emptied for every batch. `ways` counts how deliveries were read."""

    connection: duckdb.DuckDBPyConnection
    folder: Path
    ways: Counter[str] = field(default_factory=Counter)
    reports: int = 0

    def outcomes(self, batch: Sequence[Damaged], *, staged: bool) -> dict[int, Outcome]:
        """Load deliveries as one batch, straight into the tables or by the staged way; by seed what became of them."""
        arrivals = {
            item.seed: arrival(
                self.folder, item.data, export=item.export, campaign=item.campaign, dates=DAYS, declared=item.declared
            )
            for item in batch
        }
        # Two deliveries of one campaign and its days are merged one after the other, and all others with them.
        staging = [arrival(self.folder, b"", campaign="twice", dates=DAYS, pulled=NOON.replace(hour=h)) for h in (1, 2)]
        everything = [*arrivals.values(), *(staging if staged else ())]
        try:
            with deadline(self.connection):
                return self._outcomes(arrivals, everything)
        finally:
            for table in ("deliveries", *(name for e in EXPORTS for name in (e.name, f"{e.name}_history"))):
                self.connection.execute(f"truncate {table}")
            for item in everything:
                item.delivery.path.unlink()

    def _outcomes(self, arrivals: dict[int, Arrival], everything: list[Arrival]) -> dict[int, Outcome]:
        result = load_batch(self.connection, EXPORTS, everything)
        refused = {item.delivery.delivery_id: item.reason for item in result.refused}
        loaded = {item.delivery.delivery_id: item for item in result.loaded}
        assert len(refused) + len(loaded) == len(everything)
        assert not refused.keys() & loaded.keys()
        ledger = {
            row[0]: row[1:]
            for row in self.connection.execute(
                "select delivery_id, rows, inserted + ignored_as_older, campaign_id, row_campaign_id, export,"
                " unknown_fields from deliveries"
            ).fetchall()
        }
        rows: dict[str, dict[tuple[Any, ...], tuple[Any, ...]]] = {name: {} for name in loaded}
        for export in EXPORTS:
            columns = ", ".join(f"epoch_us({c.name})" if c.type == "timestamp" else c.name for c in export.columns)
            places = [export.column_names.index(name) for name in export.primary_key]
            for delivery_id, *row in self.connection.execute(
                f"select _delivery_id, {columns} from {export.name}"
            ).fetchall():
                key = tuple(row[place] for place in places)
                assert key not in rows[delivery_id], "a key is there twice"
                rows[delivery_id][key] = tuple(row)
            assert self.connection.execute(f"from {export.name}_history").fetchall() == []
        assert ledger.keys() == loaded.keys()
        return {
            seed: Outcome(rows[name], loaded[name].rows, loaded[name].unknown_fields, ledger[name])
            if (name := item.delivery.delivery_id) in loaded
            else Outcome(None, reason=refused[name])
            for seed, item in arrivals.items()
        }


@contextmanager
def deadline(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupts DuckDB where it does not come to an end. Where Python does not, pytest-timeout does."""
    timer = threading.Timer(_DEADLINE_SECONDS, connection.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    folder = tmp_path_factory.mktemp("fuzzing")
    with Warehouse(folder / "data").write() as connection, pytest.MonkeyPatch.context() as patch:
        connection.execute("set threads = 1")  # the files are tiny: a second thread costs more than it brings
        made = Loader(connection, folder / "landed")
        insert, stage = first_load.insert, export_sql.stage

        def counted_insert(connection: Any, export: Export, arrivals: Sequence[Arrival]) -> Any:
            inserted = insert(connection, export, arrivals)
            made.ways["straight into the table"] += len(arrivals)
            return inserted

        def counted_stage(export: Export, table: str, files: list[str], longest: int, *, exact: bool) -> str:
            made.ways["staged, exact reading" if exact else "staged, quick reading"] += len(files)
            return stage(export, table, files, longest, exact=exact)

        patch.setattr(first_load, "insert", counted_insert)
        patch.setattr(export_sql, "stage", counted_stage)
        tables = connection.execute("select table_name, sql from duckdb_tables() order by all").fetchall()
        yield made
        assert (
            connection.execute(
                "select table_name, sql from duckdb_tables() where not temporary order by all"
            ).fetchall()
            == tables
        )


# The comparison


def disagreement(item: Damaged, said: Verdict, found: Outcome) -> str | None:
    """Where what became of a delivery is not what the oracle says."""
    if found.rows is None:
        if said.kind == "loaded":
            return "refused, but keeps every rule"
        # Operators read it in logs, UI and alerts: no control characters, line ends or turned writing of the vendor's.
        fit = found.reason and not re.search(_NOT_FOR_A_LOG, found.reason)
        return None if fit else "refused without a reason that is a line of text"
    if said.rows is None:
        return "loaded, but breaks a rule"
    if found.rows.keys() != said.rows.keys():
        return "other keys"
    for key, cells in said.rows.items():
        for name, due, got in zip(item.export.column_names, cells, found.rows[key], strict=True):
            if got not in due if isinstance(due, frozenset) else (got != due or type(got) is not type(due)):
                return f"another {name}"
    campaign = next((cells[item.export.column_names.index("campaign_id")] for cells in said.rows.values()), None)
    unknown = found.unknown_fields
    if found.delivered != said.delivered:
        return "another number of rows"
    # Of a large delivery only both ends are looked through for new fields (DECISIONS.md).
    if unknown != said.unknown_fields and not (len(item.data) > 1 << 20 and {*unknown} <= {*said.unknown_fields}):
        return "other unknown fields"
    if found.ledger != (said.delivered, said.delivered, item.campaign, campaign, item.export.name, list(unknown)):
        return "another ledger"
    return None


def trial(loader: Loader, item: Damaged, *, staged: bool) -> tuple[str | None, str]:
    """A delivery alone: the disagreement, and what the pipeline said."""
    try:
        found = loader.outcomes([item], staged=staged)[item.seed]
    except Exception as error:  # whatever it is, it is a crash
        return f"crash: {type(error).__name__}", f"{type(error).__name__}: {error}"
    return disagreement(item, item.verdict, found), found.reason or str(found)


def smallest(item: Damaged, still: Callable[[Damaged], bool]) -> Damaged:
    """The delivery with lines, then ever smaller pieces of bytes left out, as long as it still disagrees."""
    until = time.monotonic() + _SHRINKING_SECONDS
    item = next((made for made in [replace(item, declared=None)] if still(made)), item)
    size = max(1, len(item.data) // 2)
    while size:
        at = 0
        while at < len(item.data) and time.monotonic() < until:
            made = replace(item, data=item.data[:at] + item.data[at + size :])
            if still(made):
                item = made
            else:
                at += size
        size //= 2
    return item


def report(loader: Loader, item: Damaged, staged: bool, what: str) -> str:
    """Everything that is needed to see what went wrong, and to try it again."""
    alone, _ = trial(loader, item, staged=staged)
    loader.reports += 1
    shown = item
    if alone is not None and loader.reports <= _MOST_SHRUNK:
        shown = smallest(item, lambda made: trial(loader, made, staged=staged)[0] == alone)
    said = shown.verdict
    return "\n".join((
        f"seed {item.seed} ({', '.join(item.kinds)}), {'staged' if staged else 'straight'}: {what}",
        f"alone: {alone}",
        f"{shown.export.name}, declared {shown.declared}, {len(shown.data)} bytes: {shown.data[:3000]!r}",
        f"oracle: {said.kind}, {said.why or said.open or ''} {str(said.rows)[:1500] if said.rows is not None else ''}",
        f"pipeline: {trial(loader, shown, staged=staged)[1][:2500]}",
    ))  # fmt: skip


def disagreements(loader: Loader, batch: Sequence[Damaged], *, staged: bool) -> list[str]:
    """Reports of a batch, none if all is well; a batch that fails as a whole is gone through one by one."""
    try:
        found = loader.outcomes(batch, staged=staged)
    except Exception as error:
        alone = [report(loader, i, staged, "crash") for i in batch if trial(loader, i, staged=staged)[0]]
        return alone or [f"crash of a batch, of none alone: {error!r}; seeds {[item.seed for item in batch]}"]
    return [
        report(loader, item, staged, what)
        for item in batch
        if (what := disagreement(item, item.verdict, found[item.seed])) is not None
    ]


def _looks_like_json(item: Damaged) -> bool:
    """Whether a text looks like another JSON type: the pipeline reads its whole batch a second time."""
    texts = [cell for row in (item.verdict.rows or {}).values() for cell in row[6:] if isinstance(cell, str)]
    return any(_JSON_TYPE.fullmatch(text) for text in texts)


def in_batches(rng: Random, items: Sequence[Damaged]) -> Iterator[list[Damaged]]:
    """Batches of like deliveries, so that each way a row can go is gone by many; and some of all sorts."""
    sorts: dict[str, list[Damaged]] = {}
    for item in items:
        said = item.verdict
        sort = "unreadable" if {said.why, *said.open} & _UNREADABLE else said.kind
        if said.rows is not None and len(said.rows) < said.delivered:
            sort = "key twice"
        elif sort == "loaded" and _looks_like_json(item):
            sort = "doubtful"
        sorts.setdefault("mixed" if rng.random() < 0.02 else sort, []).append(item)
    for sort, alike in sorts.items():
        left = list(alike)
        while left:
            size = rng.choice((5, 10)) if sort == "mixed" else rng.choice((1, 20, 200, 200, 300, 300, 300))
            batch, left = left[:size], left[size:]
            # Rows of one campaign would be merged; that is another test's subject.
            of_campaign = {campaign_of(item): item for item in batch}
            yield list(of_campaign.values())
            yield from ([item] for item in batch if of_campaign[campaign_of(item)] is not item)


def campaign_of(item: Damaged) -> Any:
    rows = item.verdict.rows or {}
    return next((cells[item.export.column_names.index("campaign_id")] for cells in rows.values()), item.seed)


@pytest.fixture(scope="module")
def shares(loader: Loader, request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Counts what was tried, and shows the shares at the end."""
    counted: Counter[str] = Counter()
    yield counted
    total = counted["inputs"]
    lines = [f"{count / total:7.1%} {what}" for what, count in counted.most_common() if what != "inputs"]
    lines += [f"{count:7} deliveries read {way}" for way, count in loader.ways.most_common()]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{total} damaged deliveries", *lines, sep="\n")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "first_seed" in metafunc.fixturenames:
        metafunc.parametrize("first_seed", range(0, metafunc.config.getoption("--inputs"), PER_TEST))


@pytest.mark.timeout(1200)  # seconds on a quiet machine; what hangs is told by its batch's deadline
def test_a_damaged_delivery_is_loaded_exactly_or_refused_whole(
    loader: Loader, shares: Counter[str], first_seed: int
) -> None:
    items = [damaged(seed) for seed in range(first_seed, first_seed + PER_TEST)]
    kinds = Counter(item.verdict.kind for item in items)
    # Were nearly all refused, or none, the comparison would prove little.
    assert 0.3 < kinds["loaded"] / len(items) < 0.7
    assert kinds["refused"] / len(items) > 0.2
    assert {matter for item in items for matter in item.verdict.open} <= OPEN.keys()
    shares.update(kinds)
    shares.update(f"with: {kind}" for item in items for kind in set(item.kinds))
    shares["inputs"] += len(items)
    rng, failures = Random(first_seed), list[str]()
    for batch in in_batches(rng, items):
        failures += disagreements(loader, batch, staged=rng.random() < 0.4)
    assert not failures, f"{len(failures)} disagreements\n\n" + "\n\n".join(failures[:10])


# What was found once

LINE = sample_line(BREAKDOWN).replace(b"2026-04-01", b"2026-01-10")
TRACK = sample_line(ENGAGEMENT).replace(b"2026-04-08", b"2026-01-10")
GOOD = Damaged(1, BREAKDOWN, "good", (), LINE.replace(b"f1e28d31", b"00000000"), 1)
FOUND = {
    "a year of five digits": (BREAKDOWN, LINE.replace(b"2026-01-10", b"12026-01-10")),
    "a year of five digits in the other export": (ENGAGEMENT, TRACK.replace(b"2026-01-10", b"12026-01-10")),
    "a year before Christ": (BREAKDOWN, LINE.replace(b"2026-01-10", b"2026-01-10 (BC)")),
    "no end of days": (BREAKDOWN, LINE.replace(b"2026-01-10", b"infinity")),
    "no beginning of days": (BREAKDOWN, LINE.replace(b"2026-01-10", b"-infinity")),
    "writing that turns": (
        BREAKDOWN,
        LINE.replace(b"Sleep", b"\xe2\x80\xae\xc2\x85").replace(b'"US"', b'"\\u007f\\u202e"'),
    ),
    "an unprintable name twice": (BREAKDOWN, LINE.replace(b"{", b'{"\\u001b[2J\\ud800":1,"\\u001b[2J\\ud800":2,')),
}


@pytest.mark.parametrize("staged", [False, True], ids=["straight", "staged"])
@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_is_refused_and_costs_no_other_delivery_anything(
    loader: Loader, name: str, staged: bool
) -> None:
    export, data = FOUND[name]
    item = Damaged(2, export, "found", (name,), data, None)
    assert item.verdict.kind != "loaded"
    assert GOOD.verdict.kind == "loaded"
    assert disagreements(loader, [item, GOOD], staged=staged) == []


# The oracle, held to what can be told by hand


@pytest.mark.parametrize(
    ("old", "new", "kind", "why"),
    [
        (b"", b"", "loaded", ""),
        (b"203", b"-0", "loaded", ""),
        (b"203", b'"203"', "refused", "integer that is none"),
        (b"203", b"203.5", "refused", "no count"),
        (b"203", b"9223372036854775808", "refused", "no count"),
        (b"203", b"203.0", "either", "count with a fraction or exponent"),
        (b"42.50", b"1e12", "refused", "no amount below 10^12"),
        (b"42.50", b"NaN", "refused", "not JSON"),
        (b"Sleep", b"\xed\xa0\x80", "refused", "not UTF-8"),
        (b"Sleep", b"\\ud83c", "refused", "no Unicode"),
        (b"Sleep", b"\\u0000", "loaded", ""),
        (b'"US"', b'"us"', "refused", "no country"),
        (b'"streams"', b'"STREAMS"', "refused", "no integer"),
        (b'"streams"', b'"\\u0073treams"', "loaded", ""),
        (b'"streams"', b'"streams":1,"streams"', "refused", "a field is there twice"),
        (b"2026-01-10", b"2026-02-21", "refused", "a day that was not asked for"),
        (b"T03:00:00Z", b"T03:00:00", "either", "another ISO 8601 form"),
        (b"T03:00:00Z", b"T25:00:00Z", "refused", "no timestamp"),
        (b"\n", b"\r\n \n", "loaded", ""),
        (b"\n", b"\n\x0b\n", "either", "blank line of other blanks"),
        (b"\n", b"\x0b\n", "refused", "not JSON"),
    ],
)
def test_the_oracle_says_what_can_be_told_by_hand(old: bytes, new: bytes, kind: str, why: str) -> None:
    said = Damaged(0, BREAKDOWN, "camp", (), LINE.replace(old, new, 1), None).verdict
    assert (said.kind, why) == (kind, why and (said.why or next(iter(said.open))))


def test_the_oracle_says_the_values_that_can_be_told_by_hand() -> None:
    data = LINE.replace(b"42.50", b"0.1234565").replace(b"T03:00:00Z", b"T03:00:00.000001+02:00")
    first, second = data, data.replace(b'"streams":203', b'"streams":7')
    said = Damaged(0, BREAKDOWN, "camp", (), first + second, 2).verdict
    assert said.rows is not None
    ((key, cells),) = said.rows.items()
    row = dict(zip(BREAKDOWN.column_names, cells, strict=True))
    assert key == ("soundlink", row["account_id"], date(2026, 1, 10), row["campaign_id"], "US")
    assert (row["streams"], row["spend_media"], row["cpl"]) == (7, Decimal("0.123457"), 0.293)
    assert row["exported_at"] == 1_779_238_800_000_001  # 2026-05-20 01:00 UTC and a millionth of a second
    assert (said.delivered, row["campaign_target_playlist_id"]) == (2, None)


# Names and ids that look like something else, through a whole run

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
    landed = [path for path in (here.data / "landing").rglob("*.zst") if path.parent.name != "campaigns"]
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
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "object", "embed"})
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
        assert {item.campaign_id for item in done.failed} == set(listed[:4])
        assert {item.delivery.campaign_id for item in done.loaded} <= set(listed[4:])
        assert len(done.loaded) > 4
    assert sorted(tmp_path.iterdir()) == [folder]
