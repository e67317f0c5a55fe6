"""`soundlink status`: a screen that is read, and changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._daemon.types import DaemonHeartbeat

from soundlink_pipeline.orchestration.run_origin import job_origin
from soundlink_pipeline.orchestration.turn import turn
from soundlink_pipeline_tests.commands.conftest import Folder
from soundlink_pipeline_tests.support.examined import daemon_process
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.terminal import soundlink


def lines(text: str) -> dict[str, str]:
    """By label; what goes on below it, too."""
    found: dict[str, str] = {}
    label = ""
    for line in text.splitlines():
        label = line[:12].strip() or label
        found[label] = f"{found[label]}\n{line[12:]}" if label in found else line[12:]
    return found


@pytest.mark.parametrize("command", ["status", "doctor", "sql", "report"])
def test_a_folder_that_is_no_project_is_usage_and_one_sentence(tmp_path: Path, command: str) -> None:
    said = soundlink(command, cwd=tmp_path)
    assert (said.code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert line.startswith(f"Error: there is no project in {tmp_path}: cd to one; soundlink init DIR makes one")
    assert list(tmp_path.iterdir()) == []


def test_a_project_in_which_nothing_has_run_says_what_to_do(tmp_path: Path) -> None:
    assert soundlink("init", "project", cwd=tmp_path).code == 0
    before = sorted(tmp_path.rglob("*"))
    said = soundlink("status", cwd=tmp_path / "project")
    assert (said.code, said.err) == (0, "")
    found = lines(said.out)
    assert found["Loaded"] == "nothing yet: soundlink pull --from=DAY --to=DAY"
    assert found["Last run"] == "none yet"
    assert re.match(r"\d{4}-\d\d-\d\d 07:00 UTC, in .*, by daily_refresh_schedule", found["Next run"])
    assert "the daemon is not running (never seen): no run starts by itself; soundlink dev runs" in found["Next run"]
    assert sorted(tmp_path.rglob("*")) == before


def test_after_a_pull_it_says_what_is_there(here: Folder) -> None:
    assert here.soundlink("pull", "--from", "2026-02-10", "--to", "2026-02-12").code == 0
    files = {path: path.stat().st_mtime_ns for path in here.path.rglob("*.duckdb")}
    said = here.soundlink("status")
    assert (said.code, said.err) == (0, "")
    assert len(said.out.splitlines()) <= 24
    found = lines(said.out)
    assert found["Project"] == str(here.path)
    assert found["Settled"] == "up to 2026-02-12: these numbers are final"
    for export in CAMPAIGN_EXPORTS:
        assert re.search(
            rf"{export.name}: \d+ rows of 4 campaigns, 2026-02-10 to 2026-02-12; last pulled", found["Loaded"]
        )
    assert "2026-03-02 06:00 UTC" in found["Loaded"]
    assert found["Published"].startswith(f"{here.path / 'data' / 'soundlink.duckdb'}, ")
    assert found["Last run"].startswith("daily_refresh, 2026-02-10 to 2026-02-12: success, ended ")
    assert "the daemon is not running" in found["Next run"]
    assert {path: path.stat().st_mtime_ns for path in here.path.rglob("*.duckdb")} == files


def test_dagsters_storage_that_is_damaged_costs_the_runs_alone(here: Folder) -> None:
    (here.path / ".dagster" / "storage" / "history" / "runs.db").write_bytes(b"no database" * 1000)
    said = here.soundlink("status")
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(
        r"cannot be read now: .*not a database.*; make doctor looks further", lines(said.out)["Last run"]
    )


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the system does not show its processes")
def test_the_heartbeat_of_a_daemon_that_has_ended_promises_no_run(here: Folder) -> None:
    now = datetime.now(UTC)
    with instance_of(here) as instance:
        for name in ("SCHEDULER", "QUEUED_RUN_COORDINATOR"):
            instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), name, "daemon", []))
        ended = lines(here.soundlink("status").out)["Next run"]
        with daemon_process(here.path):
            running = lines(here.soundlink("status").out)["Next run"]
    assert "the daemon is not running: it has ended (last seen " in ended
    assert ": no run starts by itself; make dev runs one" in ended
    assert "daemon is" not in running


@contextmanager
def instance_of(here: Folder) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here.path)
        with dg.DagsterInstance.from_config(str(here.path)) as instance:
            yield instance


def test_a_run_that_only_looks_hides_no_pull_that_has_failed(here: Folder) -> None:
    with instance_of(here) as instance:
        instance.add_run(dg.DagsterRun("daily_refresh", status=dg.DagsterRunStatus.FAILURE))
        for job in ("freshness", "compare_totals"):
            instance.add_run(dg.DagsterRun(job, status=dg.DagsterRunStatus.SUCCESS))
    assert lines(here.soundlink("status").out)["Last run"].startswith("daily_refresh: failure, ended ")


def test_the_last_run_is_the_one_that_ended_last(here: Folder) -> None:
    with instance_of(here) as instance:
        first = instance.add_run(dg.DagsterRun("daily_refresh", status=dg.DagsterRunStatus.STARTED))
        second = instance.add_run(dg.DagsterRun("daily_refresh", status=dg.DagsterRunStatus.STARTED))
        instance.report_run_canceled(second)
        instance.report_run_failed(first)
    assert lines(here.soundlink("status").out)["Last run"].startswith("daily_refresh: failure, ended ")


def begin(instance: dg.DagsterInstance, number: int, process: int) -> dg.DagsterRun:
    """A run that a process executes."""
    run_id = f"{number:08}-1111-4222-8333-123456789abc"
    run = instance.add_run(dg.DagsterRun("daily_refresh", run_id, status=dg.DagsterRunStatus.STARTED))
    instance.report_engine_event("Executing steps", run, EngineEventData({"pid": str(process)}))
    return run


def test_a_run_that_waits_or_whose_process_is_gone_is_not_called_under_way(here: Folder) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with instance_of(here) as instance:
        killed = begin(instance, 1, gone.pid)
        working, waiting = (begin(instance, number, os.getppid()) for number in (2, 3))
        origin = job_origin(here.path, "rebuild_from_landing")
        queued = dg.DagsterRun("rebuild_from_landing", status=dg.DagsterRunStatus.QUEUED, remote_job_origin=origin)
        instance.add_run(queued)
        with turn(here.path / "data", working, instance, pytest.fail):
            waits_for(here, instance, waiting)
            found = lines(here.soundlink("status").out)
            doctor = here.soundlink("doctor").out
    assert found["Under way"].startswith("daily_refresh: started 20")
    assert len(found["Under way"].splitlines()) == 1
    assert "so far" not in found["Waiting"]
    assert (
        ". Waiting for run 00000002 (daily_refresh, started by shell), which has been working since" in found["Waiting"]
    )
    assert ": started 20" in found["Killed"]
    assert found["Killed"].endswith(", but its process is gone; the next run marks it as failed and goes on from there")
    assert found["Queued"].startswith("rebuild_from_landing: queued 20")
    said = " ".join(doctor.split())
    assert f"warn killed run daily_refresh, started by shell ({killed.run_id[:8]}) is started, but its process" in said
    assert f"ok waiting run daily_refresh, started by shell ({waiting.run_id[:8]}) is started. Waiting for run" in said
    assert said.count("ok run under way") == 2


def waits_for(here: Folder, instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """The run says for whom it waits, as it does every half minute, and is ended then."""

    def say(line: str) -> None:
        dg.DagsterLogManager.create(loggers=[], dagster_run=run, instance=instance).info(line)
        raise InterruptedError

    with pytest.raises(InterruptedError), turn(here.path / "data", run, instance, say):
        pass
