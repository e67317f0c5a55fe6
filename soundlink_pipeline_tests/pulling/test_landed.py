"""Loading what has landed: a damaged file costs only itself, is set aside, and is named with what it held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.landing.deliveries import Delivery, digest_of
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.loading.batch import load_batch
from soundlink_pipeline.pulling.landed import load_leftovers, rebuild
from soundlink_pipeline.pulling.outcome import PullResult, merged
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.damage import DAMAGES
from soundlink_pipeline_tests.support.deliveries import APRIL, NOON, arrival, query, row
from soundlink_pipeline_tests.support.project import day

LOAD_BATCH = "soundlink_pipeline.pulling.landed.load_batch"
ROWS = f"select campaign_id, streams from {CAMPAIGN_COUNTRY_DAILY.name} order by all"


class Landed:
    """A landing with a delivery of one row for each campaign, and what was said while it was loaded."""

    def __init__(self, folder: Path, campaigns: Sequence[str]) -> None:
        self.landing = Landing(folder / "data")
        self.said: list[str] = []
        for number, campaign in enumerate(campaigns):
            self.arrive(campaign, minutes=number)

    def arrive(self, campaign: str, *, minutes: int = 0, streams: int = 7) -> Delivery:
        hashed = arrival(
            self.landing.root.parent / "in",
            [row(campaign_id=campaign, streams=streams)],
            campaign=campaign,
            pulled=NOON + timedelta(minutes=minutes),
        )
        return self.landing.land(replace(hashed.delivery, digest=digest_of(hashed.sha256)))

    def warehouse(self, name: str = "data") -> NativeFile:
        return NativeFile(self.landing.root.parent.parent / name)

    def list_campaigns(self, *names: str, hours: int) -> None:
        lines = [b'{"campaignId":"%s"}' % name.encode() for name in names]
        listing = self.landing.land_listing(CAMPAIGN, lines, NOON + timedelta(hours=hours), None, f"run-{hours}")
        self.landing.archive_listing(listing)

    def load(self) -> PullResult:
        return load_leftovers(self.warehouse(), self.landing, self.said.append)

    def rebuild(self, name: str = "data") -> PullResult:
        return rebuild(self.warehouse(name), self.landing, self.said.append)

    def of(self, campaign: str) -> Delivery:
        (found,) = (delivery for delivery in self.landing.deliveries() if delivery.subject_id == campaign)
        return found

    def set_aside(self) -> list[str]:
        """The campaigns of the files in quarantine, each of which has its reason beside it."""
        found = list(self.landing.quarantine.glob("campaign_country_daily/*/*.ndjson*"))
        reasons = {path.name for path in found if path.name.endswith(".reason.txt")}
        files = [path for path in found if path.name not in reasons]
        assert {path.name + ".reason.txt" for path in files} == reasons
        return sorted(path.parent.name for path in files)


@pytest.fixture
def three(tmp_path: Path) -> Landed:
    return Landed(tmp_path, "abc")


def failed(result: PullResult) -> list[str]:
    assert all(item.needs_refetch for item in result.failed)
    return sorted(item.subject_id for item in result.failed)


@pytest.mark.parametrize("compressed", [True, False], ids=["rebuild", "leftovers"])
def test_each_damaged_delivery_costs_only_itself(tmp_path: Path, compressed: bool) -> None:
    names = [f"damage-{number:02}" for number in range(len(DAMAGES))]
    here = Landed(tmp_path, ["first", *names, "last"])
    if compressed:
        assert here.load().failed == []
    paths = {name: here.of(name).path for name in names}
    for name, damage in zip(names, DAMAGES.values(), strict=True):
        damage(paths[name])
    result = here.rebuild("anew") if compressed else here.load()

    assert query(here.warehouse("anew" if compressed else "data"), ROWS) == [("first", 7), ("last", 7)]
    assert len(result.loaded) == 2
    assert failed(result) == here.set_aside() == names
    for item in result.failed:
        where = here.landing.quarantine / CAMPAIGN_COUNTRY_DAILY.name / item.subject_id
        assert item.reason.startswith(f"the landed file {paths[item.subject_id]} is damaged: it")
        assert item.reason.endswith(f"; set aside in {where}")
        assert f"{item.describe()}: {item.reason}" in here.said
        (beside,) = where.glob("*.reason.txt")
        assert beside.read_text().strip() in item.reason
    assert {delivery.subject_id for delivery in here.landing.deliveries()} == {"first", "last"}
    assert here.landing.not_archived() == []
    again = here.rebuild("anew") if compressed else here.load()
    assert (again.failed, again.loaded) == ([], [])


def test_a_damaged_listing_costs_only_itself_and_an_older_one_stands(three: Landed) -> None:
    three.list_campaigns("a", hours=1)
    three.list_campaigns("a", "b", hours=2)
    three.list_campaigns("a", "b", "c", hours=3)
    for listing, damage in zip(three.landing.listings(CAMPAIGN)[1:], ("cut by 4 bytes", "no bytes"), strict=True):
        DAMAGES[damage](listing.path)
    result = three.rebuild()
    assert query(three.warehouse(), "select campaign_id, _run_id from campaigns") == [("a", "run-1")]
    assert len(result.lost) == 2
    for line in result.lost:
        assert "is damaged: it is cut short" in line
        assert f"set aside in {three.landing.quarantine / 'campaigns'}. The campaigns are as listed at" in line
        assert "2026-05-23 13:00 UTC, until the next run lists them" in line
        assert line in three.said
    assert (failed(result), len(result.loaded)) == ([], 3)
    assert three.rebuild().lost == []


def test_what_a_damaged_listing_costs_is_said(three: Landed) -> None:
    three.list_campaigns("a", hours=1)
    three.list_campaigns("a", "b", hours=2)
    first, _ = three.landing.listings(CAMPAIGN)
    DAMAGES["cut by 1 byte"](first.path)
    (line,) = three.rebuild().lost
    assert line.endswith(". Newer listings are there")
    (last,) = three.landing.listings(CAMPAIGN)
    DAMAGES["cut by 1 byte"](last.path)
    (line,) = three.rebuild("anew").lost
    assert line.endswith(". No campaign is known until the next run lists them")


def test_a_damaged_listing_that_was_saved_before_is_in_the_warehouse(three: Landed) -> None:
    three.list_campaigns("a", hours=1)
    assert three.rebuild().lost == []
    DAMAGES["no bytes"](three.landing.listings(CAMPAIGN)[0].path)
    (line,) = three.rebuild().lost
    assert line.endswith(". The warehouse has its campaigns")


def test_a_refused_leftover_is_not_brought_by_the_runs_own_requests(three: Landed) -> None:
    plain = three.of("b")
    body = plain.path.read_bytes().replace(b'"US"', b'"us"')
    plain.path.rename(plain.path.with_name(replace(plain, digest=None).name)).write_bytes(body)
    (refused,) = three.load().failed
    assert refused.reason.startswith("refused: line 1: country_code must be")
    assert refused.needs_refetch


def test_a_listing_that_duckdb_cannot_read_is_damaged_too(three: Landed) -> None:
    three.landing.land_listing(CAMPAIGN, [b'{"campaignId":"a","artistName":"\\ud800"}'], NOON, None, "run-1")
    (line,) = three.rebuild().lost
    assert "Malformed JSON" in line
    assert len(line.splitlines()) == 1


def test_a_whole_file_beside_a_damaged_one_takes_its_place(three: Landed) -> None:
    """As a crash within compressing leaves them."""
    plain = three.of("b").path
    body = plain.read_bytes()
    three.load()
    plain.write_bytes(body)
    three.list_campaigns("a", hours=1)
    (listing,) = three.landing.listings(CAMPAIGN)
    listing.path.with_suffix("").write_bytes(b'{"campaignId":"a"}\n')
    before = query(three.warehouse(), "select delivery_id, load_order from deliveries order by all")
    for path in (three.of("b").path, listing.path):
        DAMAGES["cut by 40 bytes"](path)
    result = three.rebuild("anew")
    assert (result.failed, result.lost, len(result.loaded)) == ([], [], 3)
    assert three.set_aside() == ["b"]
    assert any("Another file of this delivery is whole" in line for line in three.said)
    assert query(three.warehouse("anew"), "select delivery_id, load_order from deliveries order by all") == before
    assert query(three.warehouse("anew"), "select campaign_id from campaigns") == [("a",)]


@pytest.mark.parametrize("named", [True, False], ids=["with digest", "of an earlier version"])
def test_a_damaged_leftover_beside_its_compressed_file_costs_nothing(three: Landed, named: bool) -> None:
    plain = three.of("b").path
    if not named:
        plain = plain.rename(plain.with_name(replace(three.of("b"), digest=None).name))
    three.load()
    kept = three.of("b").path
    compressed = kept.read_bytes()
    plain.write_bytes(b"")
    result = three.load()
    assert (result.failed, three.set_aside()) == ([], ["b"])
    assert kept.read_bytes() == compressed
    assert three.landing.not_archived() == []
    assert three.rebuild("anew").failed == []


def test_two_damaged_files_of_one_delivery_are_both_set_aside_and_counted_once(three: Landed) -> None:
    plain = three.of("b").path
    three.load()
    plain.write_bytes(b"")
    DAMAGES["cut by 1 byte"](three.of("b").path)
    result = three.rebuild("anew")
    assert failed(result) == ["b"]
    assert result.failed[0].reason.count("is damaged") == 2
    assert three.set_aside() == ["b", "b"]


def test_a_file_that_holds_other_bytes_than_the_ledger_says_is_damaged(three: Landed) -> None:
    """Also where its name, of an earlier version, says nothing of its bytes."""
    plain = three.of("b").path
    old = plain.rename(plain.with_name(replace(three.of("b"), digest=None).name))
    three.load()
    loaded = three.of("b")
    old.write_bytes(b"")
    loaded.path.unlink()
    (reason,) = [item.reason for item in three.load().failed]
    assert "it holds other bytes than those that were loaded" in reason
    assert reason.endswith("; its rows are loaded, but a rebuild would lack them")
    assert query(three.warehouse(), ROWS) == [("a", 7), ("b", 7), ("c", 7)]


def test_a_rebuild_verifies_what_is_loaded_already(three: Landed) -> None:
    three.load()
    DAMAGES["a flipped bit"](three.of("c").path)
    result = three.rebuild()
    assert failed(result) == three.set_aside() == ["c"]
    assert result.failed[0].reason.endswith("; its rows are loaded, but a rebuild would lack them")
    assert query(three.warehouse(), ROWS) == [("a", 7), ("b", 7), ("c", 7)]


def test_a_file_that_vanishes_before_it_is_read_is_named(three: Landed, monkeypatch: pytest.MonkeyPatch) -> None:
    found = three.landing.deliveries()
    found[1].path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(three.landing, "deliveries", lambda: found)
        result = three.rebuild()
    assert failed(result) == ["b"]
    assert result.failed[0].reason.endswith("No such file or directory); nothing is left to set aside")
    assert query(three.warehouse(), ROWS) == [("a", 7), ("c", 7)]
    assert not three.landing.quarantine.exists() or three.set_aside() == []


@pytest.mark.parametrize("damage", [Path.unlink, DAMAGES["a folder"], DAMAGES["not a file of its kind"]])
def test_a_file_that_is_damaged_as_it_is_loaded_costs_only_itself(
    three: Landed, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    path = three.of("b").path

    def damaged_first(*arguments: Any) -> Any:
        if path.is_file():
            damage(path)
        return load_batch(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(LOAD_BATCH, damaged_first)
        result = three.load()
    assert [item.subject_id for item in result.failed] == ["b"]
    assert query(three.warehouse(), ROWS) == [("a", 7), ("c", 7)]


@pytest.mark.parametrize("times", [1, 2])
def test_a_batch_that_duckdb_fails_to_load_is_tried_once_more_with_a_new_engine(
    three: Landed, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    seen = list[object]()

    def fails_first(connection: duckdb.DuckDBPyConnection, *rest: Any) -> Any:
        seen.append(connection)
        if len(seen) <= times:
            # As DuckDB 2.0.1 has said of a whole file, once in many thousand merges.
            connection.execute("select error('Corrupted fixed-size segment: array count extends past the end')")
        return load_batch(connection, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(LOAD_BATCH, fails_first)
        if times == 1:
            assert three.load().failed == []
        else:
            with pytest.raises(duckdb.Error, match="Corrupted fixed-size segment"):
                three.load()
            assert len(three.landing.not_archived()) == 3  # for the next run
    assert len(seen) == 2
    three.load()
    assert query(three.warehouse(), ROWS) == [("a", 7), ("b", 7), ("c", 7)]
    assert any("which is tried once more" in line for line in three.said)


def test_an_error_that_no_file_is_to_blame_for_is_raised(three: Landed, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of the pipeline")

    monkeypatch.setattr(LOAD_BATCH, broken)
    with pytest.raises(RuntimeError, match="a fault of the pipeline"):
        three.load()
    assert len(three.landing.not_archived()) == 3


def test_a_damaged_file_that_cannot_be_set_aside_is_named_all_the_same(three: Landed) -> None:
    three.landing.quarantine.write_text("in the way")
    DAMAGES["cut in half"](three.of("b").path)
    for _ in range(2):
        result = three.load()
        assert failed(result) == ["b"]
        assert "it could not be set aside (" in result.failed[0].reason
    assert query(three.warehouse(), ROWS) == [("a", 7), ("c", 7)]


def test_days_of_damaged_files_are_told_in_as_few_ranges_as_can_be() -> None:
    ranges = [
        DateRange(day(first), day(last))
        for first, last in (
            ("2026-03-09", "2026-03-12"),
            ("2026-02-01", "2026-02-10"),
            ("2026-02-03", "2026-02-04"),
            ("2026-02-11", "2026-02-20"),
            ("2026-03-10", "2026-03-15"),
        )
    ]
    assert [str(dates) for dates in merged(ranges)] == ["2026-02-01 to 2026-02-20", "2026-03-09 to 2026-03-15"]
    assert merged([]) == []
    assert merged([APRIL]) == [APRIL]
