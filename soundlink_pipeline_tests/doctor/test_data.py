"""What the doctor says of the data: newest days, published file, quarantine and landed files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.doctor.data import check_own_files
from soundlink_pipeline.orchestration.jobs import MODELS_AND_PUBLICATION
from soundlink_pipeline.publishing.file_copy import publish
from soundlink_pipeline.simulator import Fault
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.examined import NOW, Examined, empty_project, pulled_project
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import Project, job_of, pull, utc


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with empty_project(tmp_path) as made:
        yield made


@pytest.fixture
def pulled(tmp_path: Path) -> Iterator[Project]:
    with pulled_project(tmp_path) as made:
        yield made


def newest(here: Project, now: datetime = NOW, **settings: Any) -> set[tuple[str, str]]:
    """What is said of the newest day of each export, which is the same for both."""
    examined = Examined(here, now=now, **settings)
    return {
        (finding.level, finding.message)
        for finding in (examined.one("Data", export.name) for export in CAMPAIGN_EXPORTS)
    }


def test_newest_complete_day_is_told_and_warned_of_from_noon_on_when_it_is_not_yesterday(pulled: Project) -> None:
    in_time = {("ok", "newest complete day 2026-03-01")}
    assert newest(pulled) == in_time
    assert newest(pulled, utc("2026-03-03T11:59")) == in_time
    missed = "3 campaigns without 1 day, 2026-03-02"
    late = f"newest complete day 2026-03-01, though 2026-03-02 is due; {missed}"
    assert newest(pulled, utc("2026-03-03T12:00")) == {("warn", late)}
    fix = Examined(pulled, now=utc("2026-03-04T12:00")).one("Data", CAMPAIGN_EXPORTS[0].name).fix
    assert fix.endswith("make backfill FROM=2026-03-02 TO=2026-03-03 pulls them")


def test_the_command_that_pulls_missing_days_is_one_that_pull_takes(pulled: Project) -> None:
    examined = Examined(pulled, now=utc("2026-03-04T12:00"), SOUNDLINK_START_DATE="2026-03-03")
    assert examined.one("Data", CAMPAIGN_EXPORTS[0].name).fix == (
        "see the last run above; make backfill FROM=2026-03-03 TO=2026-03-03 pulls them; 2026-03-02 came before"
        " SOUNDLINK_START_DATE was set to 2026-03-03: with SOUNDLINK_START_DATE=2026-03-02, make backfill"
        " FROM=2026-03-02 TO=2026-03-02"
    )


def test_a_family_that_was_never_listed_is_left_out_and_nothing_to_mend(pulled: Project) -> None:
    for export in EXPORTS[2:]:
        finding = Examined(pulled).one("Data", export.name)
        assert finding.level == "ok"
        assert finding.message == (
            "left out: no run has listed soundlinks, which takes the scope soundlinks:read; see API above"
        )


def test_an_account_that_has_none_of_a_family_is_not_told_of_a_scope(here: Project) -> None:
    pull(here.soundlink, "2026-02-22", "2026-03-01", exports=EXPORTS)
    for export in EXPORTS[2:]:
        finding = Examined(here).one("Data", export.name)
        assert (finding.level, finding.message) == ("ok", "no rows: the account has no soundlink")


def test_campaigns_that_miss_days_are_counted(here: Project) -> None:
    gone = here.sim.world.campaigns[1].uuid
    here.sim.faults.add(Fault("status", campaign=gone, status=404, code="campaign_not_found", times=None))
    pull(here.soundlink, "2026-02-22", "2026-03-01")
    here.sim.faults.clear()
    missed = "1 campaign without 7 days, 2026-02-22 to 2026-02-28"
    assert newest(here) == {("warn", f"no complete day, though 2026-02-28 is due; {missed}")}


def test_days_left_out_between_two_pulls_are_told_though_the_newest_is_there(pulled: Project) -> None:
    pull(pulled.soundlink, "2026-02-16", "2026-02-19", run_id="run-2")
    missed = "3 campaigns without 2 days, 2026-02-20 to 2026-02-21"
    assert newest(pulled) == {("warn", f"newest complete day 2026-03-01; {missed}")}


def test_day_that_no_listing_since_vouches_for_is_not_complete(pulled: Project) -> None:
    with pulled.soundlink.warehouse.write() as connection:
        connection.execute("update campaigns set _listed_at = timestamp '2026-02-28 06:00:00'")
    assert newest(pulled) == {("warn", "newest complete day 2026-02-27, though 2026-02-28 is due")}


def test_no_day_is_due_before_the_first_one(here: Project) -> None:
    with here.soundlink.warehouse.write():
        pass
    assert newest(here, SOUNDLINK_START_DATE="2026-03-01") == {("ok", "no complete day")}
    told = {("warn", "no complete day, though 2026-02-28 is due")}
    assert newest(here, SOUNDLINK_START_DATE="2026-02-28") == told


def test_refused_delivery_is_warned_of_until_it_was_delivered_well(here: Project) -> None:
    here.sim.faults.add(Fault("body", export=CAMPAIGN_EXPORTS[0].name, body=b'{"broken": true}\n'))
    pull(here.soundlink, "2026-02-22", "2026-03-01")
    finding = Examined(here).one("Data", "quarantine")
    assert finding.level == "warn"
    assert finding.message.startswith("1 delivery refused or damaged that no later pull has replaced; newest: ")
    (reason,) = here.data.glob("quarantine/*/*/*.reason.txt")
    assert f"read {reason};" in finding.fix
    here.sim.clock.advance(timedelta(minutes=1))
    pull(here.soundlink, "2026-02-22", "2026-03-01", run_id="run-2")
    assert Examined(here).one("Data", "quarantine").level == "ok"


def test_landed_files_that_no_run_has_loaded_are_told(pulled: Project) -> None:
    (pulled.data / "warehouse.duckdb").unlink()
    for path in list(pulled.data.glob("landing/campaign_*/*/*.zst")):
        name = re.sub(r"_loaded-\d+", "", path.name.removesuffix(".zst"))
        path.rename(path.with_name(name))
    landed = len(pulled.soundlink.landing.not_archived())
    assert landed == 6
    examined = Examined(pulled)
    assert examined.one("Data", "warehouse").message == "there is no file, but 6 deliveries landed"
    assert examined.one("Data", "landed files").message.startswith("6 deliveries not loaded")


def test_published_file_that_is_missing_older_or_damaged_is_told(here: Project) -> None:
    pull(here.soundlink, "2026-02-22", "2026-02-28")
    published = here.soundlink.published_path
    publish(here.soundlink.warehouse, published, run_id="run-1", now=NOW)
    assert Examined(here).one("Data", "soundlink.duckdb").level == "ok"
    pull(here.soundlink, "2026-03-01", "2026-03-01", run_id="run-2")
    older = Examined(here).one("Data", "soundlink.duckdb")
    assert (older.level, "lacks 6 deliveries" in older.message) == ("FAULT", True)
    run = here.instance.create_run_for_job(
        job_of(MODELS_AND_PUBLICATION, here.settings), status=dg.DagsterRunStatus.STARTED
    )
    assert Examined(here).one("Data", "soundlink.duckdb").message.endswith("but a run is under way")
    here.instance.delete_run(run.run_id)
    published.chmod(0o644)
    published.write_bytes(b"no database" * 500)
    assert Examined(here).one("Data", "soundlink.duckdb").level == "FAULT"
    published.unlink()
    assert Examined(here).one("Data", "soundlink.duckdb").level == "FAULT"


def test_days_pulled_before_a_later_first_day_are_named_as_long_as_they_are_not_final(pulled: Project) -> None:
    message = "days from 2026-02-22 on were pulled before SOUNDLINK_START_DATE (2026-02-26); {}"
    examined = Examined(pulled, SOUNDLINK_START_DATE="2026-02-26")
    finding = examined.one("Data", "first day")
    left = "3 days of them, 2026-02-23 to 2026-02-25, will not be pulled again and stay unsettled"
    assert (finding.level, finding.message) == ("warn", message.format(left))
    assert "SOUNDLINK_START_DATE=2026-02-23, make backfill FROM=2026-02-23 TO=2026-02-25" in finding.fix
    pulled.sim.clock.set(utc("2026-03-06T06:00"))
    pull(pulled.soundlink, "2026-02-22", "2026-02-26", "run-2")
    finding = Examined(pulled, SOUNDLINK_START_DATE="2026-02-26").one("Data", "first day")
    assert (finding.level, finding.message) == ("ok", message.format("all of them are final"))
    assert [item for item in Examined(pulled).group("Data") if item.what == "first day"] == []


def test_own_files_that_could_not_be_read_are_warned_of(tmp_path: Path) -> None:
    with NativeFile(tmp_path).write() as connection:
        assert list(check_own_files(connection)) == []
        connection.execute("insert into own_files (file) values ('a.csv')")
        assert [(found.level, found.message) for found in check_own_files(connection)] == [("ok", "1 file read")]
        connection.execute("insert into own_files (file, problem) values ('b.csv', 'it is empty')")
        (finding,) = check_own_files(connection)
        assert (finding.level, finding.message) == ("warn", "1 file not read: b.csv: it is empty")
        connection.execute("alter table own_files rename to others")
        assert list(check_own_files(connection)) == [], "a warehouse of a version before has no such table"
