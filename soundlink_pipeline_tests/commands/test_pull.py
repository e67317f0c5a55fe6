"""`soundlink pull`: one run of daily_refresh, what it says of it, and how it ends."""

from __future__ import annotations

import fcntl
import json
import re
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from soundlink_pipeline.commands import display, pull
from soundlink_pipeline.commands.checks import check_lines
from soundlink_pipeline.commands.execution import run_job
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH, MODELS_AND_PUBLICATION
from soundlink_pipeline.orchestration.run_context import RANGE_END, RANGE_START
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.pulling.outcome import FailedPull, PullResult
from soundlink_pipeline.pulling.progress import Estimate, ExportProgress, Progress
from soundlink_pipeline.quality.row_checks import CheckResult, RowCheck
from soundlink_pipeline.simulator import Fault, KeyInfo
from soundlink_pipeline.simulator.access import CAMPAIGNS_READ, METRICS_READ
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.commands.conftest import Folder
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import KEY
from soundlink_pipeline_tests.support.terminal import in_terminal, soundlink

DAYS = ("--from", "2026-02-10", "--to", "2026-02-12")


def runs(here: Folder) -> list[dg.DagsterRun]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here.path)
        with dg.DagsterInstance.from_config(str(here.path)) as instance:
            return list(instance.get_runs())


def subjects_pulled(here: Folder) -> set[str]:
    with NativeFile(here.path / "data").read() as connection:
        return {name for (name,) in connection.execute("select distinct subject_id from deliveries").fetchall()}


def campaigns_published(here: Folder) -> set[str]:
    with read_published(here.path / "data" / "soundlink.duckdb") as connection:
        return {name for (name,) in connection.execute("select distinct subject_id from deliveries").fetchall()}


# The range


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2025-12-31", "2026-01-02", "the first partition is 2026-01-01 (setting SOUNDLINK_START_DATE)"),
        ("2026-02-02", "2026-02-01", "the range 2026-02-02 to 2026-02-01 is reversed"),
        (
            "yesterday",
            "2026-03-01",
            "'yesterday' is not written as YYYY-MM-DD. Give",
        ),
        ("2026-02-30", "2026-03-01", "there is no day 2026-02-30. Give two days as YYYY-MM-DD, the earlier first."),
        ("x'; rm -rf /", "2026-03-01", "Give two days as YYYY-MM-DD, the earlier first."),
    ],
)
def test_a_range_that_will_not_do_is_usage_told_in_one_sentence(
    tmp_path: Path, start: str, end: str, said: str
) -> None:
    pulled = soundlink("pull", "--from", start, "--to", end, cwd=tmp_path, SOUNDLINK_START_DATE="2026-01-01")
    assert (pulled.code, pulled.out) == (2, "")
    assert said in pulled.err
    assert len(pulled.err.splitlines()) == 1


def test_a_range_up_to_today_is_told_the_newest_day(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    pulled = soundlink("pull", "--from", "2026-01-01", "--to", str(today), cwd=tmp_path)
    assert pulled.code == 2
    assert f"has not closed yet; the newest day is {today - timedelta(days=1)} (UTC)" in pulled.err


def test_the_first_partition_is_the_one_of_the_projects_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SOUNDLINK_START_DATE=2026-05-01\n")
    pulled = soundlink("pull", "--from", "2026-04-01", "--to", "2026-05-02", cwd=tmp_path)
    assert pulled.code == 2
    assert "the first partition is 2026-05-01" in pulled.err


def test_the_last_days_are_those_up_to_yesterday_from_the_first_partition_on() -> None:
    first, now = date(2026, 1, 1), datetime(2026, 3, 2, 6, tzinfo=UTC)
    assert str(pull._range(3, first, now)) == "2026-02-27 to 2026-03-01"
    assert str(pull._range(365, first, now)) == "2026-01-01 to 2026-03-01"
    assert str(pull._range(10**20, first, now)) == "2026-01-01 to 2026-03-01"
    with pytest.raises(ValueError, match="reversed"):
        pull._range(3, date(2026, 3, 2), now)


def test_where_no_project_is_one_sentence_says_how_to_make_one(tmp_path: Path) -> None:
    pulled = soundlink("pull", *DAYS, cwd=tmp_path)
    assert pulled.code == 2
    assert "soundlink init DIR makes one" in pulled.err
    assert list(tmp_path.iterdir()) == []


# A run

_PROGRESS = re.compile(r"\d+ s: ")  # on a slow machine


def test_a_pull_says_what_came_and_is_a_run_that_the_ui_shows(here: Folder) -> None:
    pulled = here.soundlink("pull", *DAYS)
    assert (pulled.code, pulled.err) == (0, "")
    lines = [line for line in pulled.out.splitlines() if not _PROGRESS.match(line)]
    assert lines[0] == "Pulling 2026-02-10 to 2026-02-12"
    with NativeFile(here.path / "data").read() as connection:
        rows = sum(
            connection.execute(f"select count(*) from {export.name}").fetchall()[0][0] for export in CAMPAIGN_EXPORTS
        )
    assert rows > 20
    requests = here.sim.stats.count(path_contains="/export")
    assert (
        f"Loaded: {rows:,} rows, of which {rows:,} new, 0 revised; {requests} requests for exports, 0 refused or failed"
    ) in lines
    assert "Settled up to 2026-02-12: these numbers are final" in lines
    assert any(line.startswith(f"Published: {here.path / 'data' / 'soundlink.duckdb'} (") for line in lines)
    # Of old days the newest is not there; nothing else is said, and nothing of Dagster's.
    assert [line for line in lines if line.startswith("warning: ")] == lines[1:2]
    assert lines[1].startswith(
        "warning: newest_day on campaign_country_daily, campaign_engagement_daily and published_database: "
    )
    assert len(lines) == 6
    (run,) = runs(here)
    assert lines[-1].endswith(f"run {run.run_id}")
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert run.tags.items() >= {RANGE_START: "2026-02-10", RANGE_END: "2026-02-12"}.items()
    assert run.remote_job_origin is not None


def test_a_pull_that_is_interrupted_at_its_end_says_that_it_has_published(
    here: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "run_job", lambda *job, **options: replace(run_job(*job, **options), interrupted=True))
    pulled = here.soundlink("pull", *DAYS)
    file = here.path / "data" / "soundlink.duckdb"
    assert (pulled.code, pulled.err) == (130, "Interrupted at its end: what has arrived is loaded and published.\n")
    assert f"Published: {file} (" in pulled.out
    assert "Not published" not in pulled.out


def test_a_pull_that_fails_before_it_publishes_leaves_the_file_or_says_that_there_is_none(here: Folder) -> None:
    file = here.path / "data" / "soundlink.duckdb"
    pulled = here.soundlink("pull", *DAYS, SOUNDLINK_API_KEY="sk_test_Wrong")
    assert f"Not published: {file} is not there yet" in pulled.out.splitlines()
    file.touch()
    pulled = here.soundlink("pull", *DAYS, SOUNDLINK_API_KEY="sk_test_Wrong")
    assert f"Not published: {file} stays as it was" in pulled.out.splitlines()


def test_a_wrong_key_is_one_sentence(here: Folder) -> None:
    pulled = here.soundlink("pull", *DAYS, SOUNDLINK_API_KEY="sk_test_Wrong")
    assert pulled.code == 1
    (said,) = pulled.err.splitlines()
    assert "key" in said
    assert "Traceback" not in pulled.out + pulled.err
    assert "DEBUG" not in pulled.out + pulled.err


def test_a_pull_that_asked_for_nothing_says_so(here: Folder) -> None:
    pulled = here.soundlink("pull", *DAYS, SOUNDLINK_API_KEY="sk_test_Wrong")
    assert pulled.code == 1
    assert "Loaded: nothing; no export was requested" in pulled.out.splitlines()


def test_a_listing_that_was_refused_is_no_request_that_was() -> None:
    days = DateRange(date(2026, 2, 10), date(2026, 2, 12))
    failed = [FailedPull(export.name, "", days, "the key lacks a scope", no_access=True) for export in EXPORTS[2:]]
    said = pull._what_came(Progress(result=PullResult(4, failed=failed)))
    exports = "soundlink_country_daily and soundlink_engagement_daily"
    assert said.endswith(f"; 4 requests for exports, 0 refused or failed; nothing could be requested of {exports}")
    failed.append(FailedPull(EXPORTS[0].name, "camp_1", days, "not found"))
    said = pull._what_came(Progress(result=PullResult(4, failed=failed)))
    assert said.endswith(f"; 4 requests for exports, 1 refused or failed; nothing could be requested of {exports}")
    whole = [FailedPull(export.name, "", days, "revoked", account=name) for export in EXPORTS for name in ("b", "c")]
    said = pull._what_came(Progress(result=PullResult(4, failed=whole)), several=True)
    assert said.endswith("0 refused or failed; nothing could be requested of account b and account c")


def test_a_listing_that_is_refused_is_requested_once_and_is_no_request_for_exports(here: Folder) -> None:
    here.sim.keys[KEY] = KeyInfo(scopes=frozenset({CAMPAIGNS_READ, METRICS_READ}))
    pulled = here.soundlink("pull", *DAYS, "--refetch")
    assert pulled.code == 0, pulled.err
    kinds = Counter(record.kind for record in here.sim.stats.records)
    details = {"campaign": 4}
    assert kinds == {"campaigns": 1, "soundlinks": 1, "breakdown_export": 4, "engagement_export": 4} | details
    assert "; 8 requests for exports, 0 refused or failed" in pulled.out


def test_why_many_pulls_failed_is_said_once_and_a_check_says_what_is_missing(here: Folder) -> None:
    here.sim.keys[KEY] = KeyInfo(scopes=frozenset({CAMPAIGNS_READ}))
    pulled = here.soundlink("pull", *DAYS)
    assert pulled.code == 1
    assert pulled.err.count("the API key lacks the scope metrics:read.") == 1
    assert pulled.err.count("the API key lacks the scope soundlinks:read.") == 1
    assert "lacks a scope" not in pulled.err
    assert "all of soundlink_country_daily, 2026-02-10 to 2026-02-12: the API key" in pulled.err
    assert "all of soundlink_engagement_daily, 2026-02-10 to 2026-02-12: the same" in pulled.err.splitlines()
    both = "campaign_country_daily and campaign_engagement_daily"
    error = (
        f"error: every_live_campaign_delivered on {both}: days of 4 campaigns are missing in 2026-02-10 to 2026-02-12"
    )
    assert error in pulled.out.splitlines()


def test_no_line_of_a_slow_pull_is_like_the_one_before() -> None:
    progress = Progress(exports={EXPORTS[0].name: ExportProgress(4, 0, 0, 12_300_000)})
    said = list[str]()
    for arrived in (0, 64, 5000):
        before = {EXPORTS[0].name: progress.bytes} if said else {}
        progress.receive(EXPORTS[0].name, arrived)
        said.append(display._line(progress, Estimate(), before))
    assert said == [f"{EXPORTS[0].name} 0 of 4, 0 rows, {size}" for size in ("12.3 MB", "12,300,064 B", "12,305 kB")]


def test_an_account_that_waits_is_named_before_and_while_exports_are_pulled() -> None:
    progress = Progress(clock=lambda: 0.0)
    progress.wait("b", 20)
    assert display._line(progress, Estimate(), {}) == "working; account b waits until the API may be asked again"
    progress.exports = {EXPORTS[0].name: ExportProgress(4)}
    line = display._line(progress, Estimate(), {})
    assert line.endswith("0 rows, 0 B; account b waits until the API may be asked again")


def test_the_checks_that_failed_are_told_in_good_english() -> None:
    def lines(*counts: int) -> list[str]:
        check = RowCheck("usual_volume", "As many as on other days.", "Ask.", "warn", "", unit="day")
        found = zip(EXPORTS, counts, strict=False)
        return list(
            check_lines(
                [
                    dg.AssetCheckEvaluation(
                        asset_key=dg.AssetKey(export.name),
                        check_name=check.name,
                        passed=False,
                        metadata={},
                        severity=dg.AssetCheckSeverity.WARN,
                        description=str(CheckResult(check, count)),
                    )
                    for export, count in found
                ],
                failed=False,
            )
        )

    head, rule = "warning: usual_volume on", "the rule: As many as on other days."
    assert lines(1) == [f"{head} campaign_country_daily: 1 day breaks {rule}"]
    assert lines(1200) == [f"{head} campaign_country_daily: 1,200 days break {rule}"]
    both = "campaign_country_daily and campaign_engagement_daily"
    assert lines(1, 1200) == [f"{head} {both}: 1 day and 1,200 days break {rule}"]
    assert lines(2, 2) == [f"{head} {both}: 2 days each break {rule}"]
    assert lines(1, 1) == [f"{head} {both}: 1 day each breaks {rule}"]


def test_verbose_brings_dagsters_own_lines(here: Folder, capfd: pytest.CaptureFixture[str]) -> None:
    pulled = here.soundlink("pull", *DAYS, "--verbose", SOUNDLINK_API_KEY="sk_test_Wrong")
    assert pulled.code == 1
    assert "RUN_FAILURE" in pulled.err + pulled.out + "".join(capfd.readouterr())


def test_a_refused_delivery_fails_the_command_with_its_reason_and_the_others_are_loaded(here: Folder) -> None:
    campaign = here.sim.world.campaigns[0].path_id
    here.sim.faults.add(
        Fault("edit", campaign=campaign, export=CAMPAIGN_EXPORTS[0].name, edit=lambda body: b"[]\n", times=None)
    )
    pulled = here.soundlink("pull", *DAYS)
    assert pulled.code == 1
    assert campaign in pulled.err
    assert "Traceback" not in pulled.err
    assert "1 refused or failed" in pulled.out
    assert subjects_pulled(here) == {campaign.path_id for campaign in here.sim.world.campaigns}


def test_a_pull_that_must_wait_says_for_whom(here: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "LINE_AFTER_SECONDS", 0.2)
    (here.path / "data").mkdir()
    with (here.path / "data" / "run.lock").open("a+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        holder = {"run": "0123456789", "what": "daily_refresh, started by schedule", "since": "2026-11-28T07:00:00"}
        other.write(json.dumps({**holder, "process": "42"}))
        other.flush()
        timer = threading.Timer(4, fcntl.flock, (other, fcntl.LOCK_UN))
        timer.start()
        pulled = here.soundlink("pull", *DAYS)
        timer.join()
    assert pulled.code == 0
    assert (
        ": Waiting for run 01234567 (daily_refresh, started by schedule), which has been working since 2026-11-28 07:00"
        in pulled.out
    )


# --campaign


def test_a_pull_may_be_limited_to_campaigns_by_id_or_name(here: Folder) -> None:
    one, other, *_ = here.sim.world.campaigns
    # Nothing is known yet: the campaigns are listed, where they go by artist and track.
    pulled = here.soundlink("pull", *DAYS, "--campaign", one.path_id)
    assert pulled.code == 0, pulled.err
    assert subjects_pulled(here) == {one.path_id}
    assert "Not pulled: days of 3 others, so these days stay missing in the UI" in pulled.out
    assert "Published: " in pulled.out
    assert campaigns_published(here) == {one.path_id}
    assert [run.job_name for run in runs(here)] == [MODELS_AND_PUBLICATION, DAILY_REFRESH]
    before = here.sim.stats.count()
    # By now rows say its name: the other is found among those that were listed.
    pulled = here.soundlink("pull", *DAYS, "--campaign", other.path_id, "--campaign", one.name.upper(), "--refetch")
    assert pulled.code == 0, pulled.err
    assert subjects_pulled(here) == {one.path_id, other.path_id}
    # The listing of campaigns, and the details of the other, which no run has asked for yet.
    assert here.sim.stats.count() == before + 1 + 2 * len(CAMPAIGN_EXPORTS) + 1


def test_an_unknown_campaign_is_an_error_that_lists_near_ones_and_makes_no_run(here: Folder) -> None:
    known = here.sim.world.campaigns[0].path_id
    pulled = here.soundlink("pull", *DAYS, "--campaign", known[:-1])
    assert pulled.code == 1
    (said,) = pulled.err.splitlines()
    assert said.startswith(f"no campaign has the id or name {known[:-1]!r}; near it are ")
    assert known in said
    assert runs(here) == []


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("requests.sqlite", b"no database" * 500, "requests cannot be counted: requests.sqlite in the data folder is"),
        ("requests.sqlite", None, "the data folder cannot be written to"),
        ("data", b"", "the data folder cannot be written to"),
    ],
)
def test_a_campaign_that_cannot_be_looked_up_for_what_lies_in_the_data_folder_is_a_sentence(
    here: Folder, name: str, content: bytes | None, told: str
) -> None:
    place = here.path / "data" if name == "data" else here.path / "data" / name
    place.parent.mkdir(exist_ok=True)
    if content is None:
        place.mkdir()
    else:
        place.write_bytes(content)
    pulled = here.soundlink("pull", *DAYS, "--campaign", here.sim.world.campaigns[0].path_id)
    assert pulled.code == 1
    (said,) = pulled.err.splitlines()
    assert said.startswith(told)


# In a terminal


def test_a_terminal_shows_a_bar_for_each_export_and_ctrl_c_leaves_what_has_arrived(here: Folder) -> None:
    here.sim.faults.add(Fault("slow", export=CAMPAIGN_EXPORTS[1].name, chunk=64, pause=0.2, times=None))
    with in_terminal("pull", *DAYS, cwd=here.path, env={}) as terminal:
        terminal.until(CAMPAIGN_EXPORTS[0].name)
        terminal.until(CAMPAIGN_EXPORTS[1].name)
        terminal.until("4/4")
        terminal.press("^C")
        assert terminal.end() == 130
    assert "Traceback" not in terminal.text
    assert terminal.text.rstrip().endswith(
        "Interrupted: what has arrived is kept; the same command goes on from there."
    )
    assert len(subjects_pulled(here)) == 4
    (run,) = runs(here)
    assert run.is_finished
    requests = here.sim.stats.count()
    here.sim.faults.clear()
    pulled = here.soundlink("pull", *DAYS)
    assert pulled.code == 0
    # The listings, the export that had not arrived, and the details.
    assert here.sim.stats.count() == requests + 2 + 4 + 4


def test_a_file_of_one_account_is_published_on_demand(here: Folder) -> None:
    assert here.soundlink("pull", "--from", "2026-02-10", "--to", "2026-02-12", "--account", "default").code == 0
    said = here.soundlink("publish", "--account", "default")
    assert (said.code, said.err) == (0, "")
    file = here.path / "data" / "published" / "default.duckdb"
    assert said.out.startswith(f"Published: {file} (")
    assert file.is_file()
    unknown = here.soundlink("publish", "--account", "nobody")
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err.endswith("has no account nobody; it has default\n")
    usage = here.soundlink("pull", "--days", "3", "--account", "nobody")
    assert (usage.code, usage.err) == (2, "Error: there is no account nobody; the settings name default\n")


def test_a_pull_publishes_the_accounts_that_work_and_says_which_one_does_not(here: Folder) -> None:
    env = [line for line in (here.path / ".env").read_text().splitlines() if not line.startswith("SOUNDLINK_API_KEY=")]
    (here.path / ".env").write_text("\n".join([*env, f"KEY_A={KEY}", "KEY_B=sk_test_revoked"]))
    (here.path / "accounts.toml").write_text("[accounts.a]\nkey_env = 'KEY_A'\n[accounts.b]\nkey_env = 'KEY_B'\n")
    here.sim.keys["sk_test_revoked"] = KeyInfo(revoked=True)
    said = here.soundlink("pull", "--from", "2026-02-10", "--to", "2026-02-12")
    assert said.code == 1
    assert "account b, 2026-02-10 to 2026-02-12: " in said.err
    assert "account a" not in said.err
    assert f"Published: {here.path / 'data' / 'soundlink.duckdb'} (" in said.out
    status = here.soundlink("status").out
    assert "0 refused or failed; nothing could be requested of account b" in said.out
    assert "a: 4 campaigns, 0 soundlinks; last pulled 2026-03-02 06:00 UTC\n" in status
    why = "b: 0 campaigns, 0 soundlinks; never pulled; failed when it was last asked: this API key was revoked; create"
    assert why in status
    only_b = here.soundlink("pull", "--from", "2026-02-10", "--to", "2026-02-12", "--account", "b")
    assert only_b.code == 1
    assert why in here.soundlink("status").out
    only_a = here.soundlink("pull", "--from", "2026-02-10", "--to", "2026-02-12", "--account", "a")
    assert (only_a.code, only_a.err) == (0, "")
    assert why in here.soundlink("status").out
    # What the settings name is told as they are now, not as the last run found them.
    (here.path / "accounts.toml").write_text("[accounts.a]\nkey_env = 'KEY_A'\n[accounts.c]\nkey_env = 'KEY_C'\n")
    status = here.soundlink("status").out
    assert "b: 0 campaigns, 0 soundlinks; never pulled; the settings no longer name it\n" in status
    assert "c: never pulled\n" in status
