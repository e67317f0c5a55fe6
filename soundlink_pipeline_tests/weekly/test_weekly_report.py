"""The weekly report over real SMTP and HTTP: the mail that arrives, each week once, and no word of the URL."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import duckdb
import pytest

from soundlink_pipeline.channels.sent_log import SentLog, Slot
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.weekly.figures import read_week
from soundlink_pipeline.weekly.schedule import build_weekly_report
from soundlink_pipeline.weekly.sending import make_message
from soundlink_pipeline_tests.alerts.conftest import _no_waiting, receiver
from soundlink_pipeline_tests.alerts.receiver import SECRET, TOKEN, Receiver
from soundlink_pipeline_tests.support.instances import instance_at
from soundlink_pipeline_tests.support.mail_server import PASSWORD, USER, MailServer, mail_server
from soundlink_pipeline_tests.support.report_database import LOUD, LOUD_ID, QUIET, QUIET_ID, published_database

__all__ = ["_no_waiting", "receiver"]
# The database's newest day is Monday 2026-04-20, its first 2026-04-01: the week that is over ended the day before.
TUESDAY = datetime(2026, 4, 21, 9, 40, tzinfo=UTC)
WEEK = "2026-W16"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published_database(tmp_path_factory.mktemp("published"))


@pytest.fixture
def folder(database: Path, tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    shutil.copy(database, tmp_path / "data" / "soundlink.duckdb")
    return tmp_path / "data"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as made:
        yield made


def mail_url(server: MailServer) -> str:
    login = f"{USER}:{quote(PASSWORD, safe='')}"
    return f"mailto://{login}@127.0.0.1:{server.port}/?from=reports@example.com&to=anna@example.com"


def run(folder: Path, url: str | None, **options: Any) -> dg.ExecuteInProcessResult:
    job, _ = build_weekly_report(lambda: url, Settings(data_dir=folder), lambda: TUESDAY)
    return job.execute_in_process(raise_on_error=False, **options)


def reason(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    [failure] = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_FAILURE]
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    return data.description or ""


def tick(folder: Path, url: str | None, at: datetime = TUESDAY) -> dg.RunRequest | str:
    _, schedule = build_weekly_report(lambda: url, Settings(data_dir=folder))
    with dg.build_schedule_context(scheduled_execution_time=at) as context:
        done = schedule.evaluate_tick(context)
    return done.run_requests[0] if done.run_requests else done.skip_message or ""


def test_a_mail_has_the_answer_first_pictures_inline_and_the_page_attached(folder: Path, server: MailServer) -> None:
    assert run(folder, mail_url(server)).success
    mail = server.arrived[0].mail
    assert mail["Subject"] == "Soundlink, 2026-04-13 to 2026-04-19"
    alternative, page = mail.iter_parts()
    text, related = alternative.iter_parts()
    html, *pictures = related.iter_parts()
    # Seven days of 1234.50, of which two are settled; 80 streams a day of each of two campaigns.
    shown = html.get_content()
    assert shown.index("8,641.50 EUR") < shown.index("<img")
    assert "1,120" not in shown
    assert "560" in shown
    assert [picture["Content-ID"] for picture in pictures] == ["<spend0>", "<spend1>", "<streams>"]
    for picture in pictures:
        assert f'src="cid:{picture["Content-ID"].strip("<>")}"' in shown
        assert picture.get_content().startswith(b"\x89PNG")
    assert not [word for word in ("<svg", "data:", "<script", "<style", "http") if word in shown]
    assert "&lt;b&gt;" in shown  # a campaign's name from outside
    assert text.get_content().startswith("Spend: 8,641.50 EUR")
    assert f"- {QUIET}: 8,641.50 EUR, " in text.get_content()
    assert page.get_filename() == "report.html"
    attached = page.get_content()
    assert attached.lower().startswith("<!doctype html>")
    assert QUIET in attached


def test_a_webhook_gets_text_and_figures(folder: Path, receiver: Receiver) -> None:
    assert run(folder, receiver.url).success
    [body] = receiver.bodies
    assert body["text"].splitlines()[0] == "Soundlink, 2026-04-13 to 2026-04-19"
    assert (body["week"], body["from"], body["to"]) == (WEEK, "2026-04-13", "2026-04-19")
    assert {"name": "Spend", "now": "8,641.50 EUR"}.items() <= body["figures"][0].items()


def test_what_is_provisional_is_no_fall_and_campaigns_of_one_name_are_told_apart(folder: Path) -> None:
    file = folder / "soundlink.duckdb"
    file.chmod(0o600)
    with duckdb.connect(str(file)) as connection:
        connection.execute("update marts.campaign_daily set campaign_name = 'Same'")
        connection.execute("update marts.campaign_daily set streams = 40 where report_date >= date '2026-04-13'")
        connection.execute("delete from marts.settled_estimates")
    _, message = make_message(file)
    assert "Streams (EUR): 280, so far -50% against 560" in message.text
    assert "so far -50%" in message.html
    for campaign in (LOUD_ID, QUIET_ID):
        assert f"Same ({campaign})" in message.text
        assert f"Same ({campaign})" in message.html
    with duckdb.connect(str(file)) as connection:
        connection.execute("update marts.campaign_daily set campaign_name = ''")
    assert f"- {QUIET_ID}: " in make_message(file)[1].text


def test_no_currency_crowds_out_another(folder: Path) -> None:
    file = folder / "soundlink.duckdb"
    file.chmod(0o600)
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "insert into marts.campaign_daily select * exclude (number) replace ('yen-' || number as campaign_id,"
            " 'Yen ' || number as campaign_name, 'JPY' as currency, 200000 + number as spend_total)"
            " from marts.campaign_daily, range(12) as numbers(number) where currency = 'EUR'"
        )
        week = read_week(connection)
    assert week is not None
    names = [row["name"] for row in week.campaigns]
    assert names == [QUIET, *(f"Yen {number}" for number in range(11, 3, -1)), LOUD]
    assert week.more_campaigns == 4


def test_a_week_is_sent_once_whatever_runs_again(folder: Path, server: MailServer) -> None:
    url = mail_url(server)
    assert isinstance(tick(folder, url), dg.RunRequest)
    assert run(folder, url).success
    assert run(folder, url).success
    assert len(server.arrived) == 1
    assert tick(folder, url) == f"The report of {WEEK} was sent."


def test_the_days_after_a_week_are_no_week_of_their_own(folder: Path, database: Path, server: MailServer) -> None:
    file, url = folder / "soundlink.duckdb", mail_url(server)
    # On Monday the file ends with Sunday.
    file.chmod(0o600)
    with duckdb.connect(str(file)) as connection:
        for table in ("campaign_daily", "track_engagement_daily", "data_status"):
            connection.execute(f"delete from marts.{table} where report_date > date '2026-04-19'")
    monday = TUESDAY - timedelta(days=1)
    requested = tick(folder, url, monday)
    assert isinstance(requested, dg.RunRequest)
    assert requested.tags["soundlink/week"] == WEEK
    assert run(folder, url).success
    # On Tuesday it ends with Monday.
    file.unlink()
    shutil.copy(database, file)
    assert tick(folder, url) == f"The report of {WEEK} was sent."
    assert run(folder, url).success
    assert [mail.mail["Subject"] for mail in server.arrived] == ["Soundlink, 2026-04-13 to 2026-04-19"]


def test_what_failed_is_sent_by_the_next_run_and_to_those_alone_who_have_not_had_it(
    folder: Path, server: MailServer, receiver: Receiver
) -> None:
    url = f"{receiver.url} {mail_url(server)}"
    server.answers["MAIL"] = "451 later"
    assert reason(run(folder, url)) == "Receiver 2 of 2: the mail server refused the sender (SMTP 451)"
    assert isinstance(tick(folder, url), dg.RunRequest)
    del server.answers["MAIL"]
    assert run(folder, url).success
    assert (len(receiver.bodies), len(server.arrived)) == (1, 1)


def test_what_was_refused_for_good_is_tried_again_by_people_only(folder: Path, server: MailServer) -> None:
    url = mail_url(server)
    server.answers["AUTH"] = "535 no"
    assert reason(run(folder, url)) == "Receiver 1 of 1: the mail server refused the login (SMTP 535)"
    assert tick(folder, url) == (
        f"1 receiver refused the report of {WEEK} for good: see the failed run, then launch the job again."
    )
    del server.answers["AUTH"]
    assert run(folder, url).success
    assert len(server.arrived) == 1


def test_words_of_a_reason_that_are_in_the_url_too_stay(folder: Path, server: MailServer) -> None:
    url = f"{mail_url(server).replace('mailto:', 'mailtos:')}&mode=starttls"
    assert reason(run(folder, url)) == (
        "Receiver 1 of 1: the mail server offers no STARTTLS: check port and mode of the URL"
    )


def test_a_run_that_was_killed_while_it_sent_is_not_repeated_and_says_so(folder: Path, server: MailServer) -> None:
    SentLog(folder).claim(Slot("weekly report", 0, WEEK), ["report"], TUESDAY)
    assert "nobody knows whether it arrived" in reason(run(folder, mail_url(server)))
    said = tick(folder, mail_url(server))
    assert isinstance(said, str)
    assert "nobody knows whether it arrived" in said
    assert server.arrived == []


def test_the_schedule_waits_for_sunday_and_says_what_it_waits_for(folder: Path, server: MailServer) -> None:
    url = mail_url(server)
    assert tick(folder, url, datetime(2026, 4, 27, 9, 40, tzinfo=UTC)) == (
        "Waiting for 2026-04-26 to be published: the newest week in the file ends on 2026-04-19."
    )
    assert tick(folder, None) == "No receiver: SOUNDLINK_REPORT_URL is not set."
    assert tick(folder.parent, url) == "Nothing has been published yet, so there is no report."
    requested = tick(folder, url, datetime(2026, 4, 20, 9, 40, tzinfo=UTC))
    assert isinstance(requested, dg.RunRequest)
    assert requested.tags["soundlink/week"] == "2026-W16"


def test_without_a_receiver_or_a_file_the_run_fails_in_words(folder: Path, server: MailServer) -> None:
    assert reason(run(folder, None)) == "No receiver: SOUNDLINK_REPORT_URL is not set."
    assert reason(run(folder.parent, mail_url(server))) == "Nothing has been published yet, so there is no report."
    (folder / "soundlink.duckdb").write_bytes(b"nonsense")
    assert reason(run(folder, mail_url(server))).startswith("The published file cannot be read: ")


def test_it_is_off_unless_there_is_a_url() -> None:
    for url, status in ((None, "STOPPED"), ("mailtos://a:b@example.com", "RUNNING")):
        _, schedule = build_weekly_report(lambda url=url: url, Settings())  # type: ignore[misc]
        assert schedule.default_status.value == status


def test_no_part_of_a_url_is_in_dagsters_storage_or_its_logs(
    folder: Path,
    tmp_path: Path,
    server: MailServer,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers["AUTH"] = f"535 {USER} {PASSWORD}"
    receiver.answer(400, body=f"{SECRET} {TOKEN}".encode())
    url = f"{mail_url(server)} {receiver.url} nosuchservice://{TOKEN}"
    with instance_at(tmp_path / "instance") as instance:
        said = reason(run(folder, url, instance=instance))
    assert said.count("\n") == 2
    shown = [said, caplog.text, *capfd.readouterr()]
    shown += [str(path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()]
    for secret in (USER, PASSWORD, quote(PASSWORD, safe=""), *SECRET.split("/"), TOKEN, "anna@example.com"):
        assert not [text[:200] for text in shown if secret in text]
