"""Marketers are told once a day of what the rules find, whatever restarts, fails or runs twice meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from soundlink_pipeline.channels.sent_log import SentLog, Slot
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.marketing.sensor import build_marketing_alerts
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline_tests.alerts.receiver import SECRET, TOKEN, Receiver
from soundlink_pipeline_tests.marketing.shared import READ, built, settled
from soundlink_pipeline_tests.marts.shared import Marts
from soundlink_pipeline_tests.support.mail_server import mail_server
from soundlink_pipeline_tests.support.sql_folder import without_models

SLOT = Slot("marketing", 0, "2026-03-10")
NOW = datetime(2026, 3, 10, 8, tzinfo=UTC)


@dataclass
class Look:
    """The sensor over a data folder, evaluated tick by tick with its own cursor."""

    folder: Path
    url: str | None
    now: datetime = NOW
    cursor: str | None = None
    said: list[str] = field(default_factory=list)

    def tick(self) -> list[str]:
        sensor = build_marketing_alerts(lambda: self.url, Settings(data_dir=self.folder), lambda: self.now)
        with dg.build_sensor_context(cursor=self.cursor, sensor_name=sensor.name) as context:
            done = sensor.evaluate_tick(context)
        self.cursor = done.cursor or self.cursor
        self.said = (done.skip_message or "").splitlines()
        return self.said

    def publish_again(self) -> None:
        """A newer file with the same rows."""
        os.utime(self.folder / "soundlink.duckdb", ns=(0, (self.folder / "soundlink.duckdb").stat().st_mtime_ns + 1))


@pytest.fixture
def folder(marts: Marts, tmp_path: Path) -> Path:
    """A published file of two campaigns that spend without streams."""
    for campaign in ("c1", "c2"):
        settled(marts, range(3), 10, campaign_id=campaign, campaign_name=f"<!channel> @everyone {campaign}")
    connection = built(marts)
    file = tmp_path / "data" / "soundlink.duckdb"
    file.parent.mkdir()
    connection.execute(f"attach '{file}' as published")
    connection.execute("create schema published.marts")
    for table in READ:
        connection.execute(f"create table published.{table} as from {table}")
    connection.execute("detach published")
    return file.parent


@pytest.fixture
def look(folder: Path, receiver: Receiver) -> Iterator[Look]:
    return Look(folder, receiver.url)  # type: ignore[return-value]


def test_findings_are_sent_in_one_message_with_number_usual_and_whether_they_may_change(
    look: Look, receiver: Receiver
) -> None:
    assert look.tick()[0] == "Found 2 alerts. Sent 1 message."
    [body] = receiver.bodies
    lines = body["text"].splitlines()
    assert lines[0] == "Soundlink Pipeline: 2 alerts on 2 campaigns"
    assert lines[1] == (
        "- < !channel> @ everyone c1: no stream for 30.00 USD on 3 days with spend, 2026-03-01 to 2026-03-03."
        " No settled day with spend before them tells what is usual (final)."
    )
    assert [(item["rule"], item["campaign_id"]) for item in body["alerts"]] == [
        ("spend_without_streams", "c1"),
        ("spend_without_streams", "c2"),
    ]
    assert "<!channel>" not in json.dumps(body)
    assert look.said[1].startswith("- <!channel> @everyone c1: no stream")  # as any reader of Dagster sees names


def test_each_is_sent_once_a_day_also_after_a_restart_and_a_reset_of_the_cursor(look: Look, receiver: Receiver) -> None:
    look.tick()
    assert look.tick() == ["Nothing has been published since the last look."]
    look.publish_again()
    assert look.tick()[0] == "Found 2 alerts. Nothing to send: all of it was sent today."
    look.cursor = None
    look.tick()
    assert len(receiver.bodies) == 1
    look.now += timedelta(days=1)
    look.publish_again()
    look.tick()
    assert len(receiver.bodies) == 2


def test_what_could_not_be_delivered_is_tried_again_and_then_sent_once(look: Look, receiver: Receiver) -> None:
    receiver.answer(503, 503, 503)
    assert look.tick()[0].startswith("Receiver 1 of 1: the receiver answered HTTP 503")
    assert look.tick()[0].startswith("Waiting to try again: Receiver 1 of 1")
    receiver.bodies.clear()
    look.now += timedelta(minutes=1)
    assert look.tick()[0] == "Found 2 alerts. Sent 1 message."
    assert look.tick() == ["Nothing has been published since the last look."]
    assert len(receiver.bodies) == 1


def test_only_the_receiver_that_failed_is_tried_again(look: Look, receiver: Receiver) -> None:
    with mail_server() as server:
        look.url = f"{receiver.url} mailto://127.0.0.1:{server.port}/?from=a@example.com&to=b@example.com"
        server.answers["MAIL"] = "451 later"
        assert look.tick()[0] == "Receiver 2 of 2: the mail server refused the sender (SMTP 451)"
        del server.answers["MAIL"]
        look.now += timedelta(minutes=1)
        look.tick()
    assert (len(receiver.bodies), len(server.arrived)) == (1, 1)
    mail = server.arrived[0].mail
    assert mail["Subject"] == "Soundlink Pipeline: 2 alerts on 2 campaigns"
    assert mail.get_content().startswith("- < !channel> @ everyone c1: no stream for 30.00 USD")


def test_a_receiver_that_refuses_is_not_asked_again_before_the_next_publication(look: Look, receiver: Receiver) -> None:
    receiver.answer(404)
    assert "HTTP 404" in look.tick()[0]
    look.now += timedelta(hours=5)
    assert look.tick() == ["Nothing has been published since the last look."]
    look.publish_again()
    assert look.tick()[0] == "Found 2 alerts. Sent 1 message."


def test_many_findings_go_in_several_messages_and_none_is_lost(
    look: Look, receiver: Receiver, marts: Marts, tmp_path: Path
) -> None:
    import duckdb  # noqa: PLC0415

    with duckdb.connect(look.folder / "soundlink.duckdb") as connection:
        more = "select * replace (campaign_id || '-' || n as campaign_id) from marts.campaign_daily, range(20) as t(n)"
        connection.execute(f"insert into marts.campaign_daily by name select * exclude (n) from ({more})")
    assert look.tick()[0] == "Found 42 alerts. Sent 6 messages."
    told = [item["campaign_id"] for body in receiver.bodies for item in body["alerts"]]
    assert len(told) == len(set(told)) == 42
    assert all(len(body["text"]) < 3000 for body in receiver.bodies)


def test_a_claim_of_a_process_that_was_killed_is_not_sent_again_that_day(look: Look, receiver: Receiver) -> None:
    code = (
        "import os, sys; from pathlib import Path; from datetime import datetime, UTC;"
        "from soundlink_pipeline.channels.sent_log import SentLog, Slot;"
        "SentLog(Path(sys.argv[1])).claim(Slot('marketing', 0, '2026-03-10'), ['spend_without_streams/c1/USD'],"
        " datetime(2026, 3, 10, tzinfo=UTC)); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(look.folder)], check=False)
    look.tick()
    assert [item["campaign_id"] for body in receiver.bodies for item in body["alerts"]] == ["c2"]


def test_two_processes_claim_each_item_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC;"
        "from soundlink_pipeline.channels.sent_log import SentLog, Slot;"
        "log = SentLog(Path(sys.argv[1])); now = datetime(2026, 3, 10, tzinfo=UTC); sys.stdin.readline();"
        "print(sum(len(log.claim(Slot('marketing', 0, 'd'), [str(n), str(n + 1)], now)) for n in range(150)))"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sum(int(process.communicate()[0]) for process in both) == 151


def test_what_was_refused_waits_for_its_own_slot_to_be_claimed_again(tmp_path: Path) -> None:
    log, other = SentLog(tmp_path), Slot("weekly report", 1, "2026-W10")
    assert log.claim(other, ["report"], NOW) == ["report"]
    log.release(other, ["report"], refused=True)
    log.claim(SLOT, ["a"], NOW)
    assert log.states("weekly report", "2026-W10") == {1: "refused"}
    assert log.claim(other, ["report"], NOW) == ["report"]


def test_old_claims_are_deleted(tmp_path: Path) -> None:
    log = SentLog(tmp_path)
    log.claim(SLOT, ["a"], NOW)
    assert log.claim(SLOT, ["a"], NOW + timedelta(days=119)) == []
    assert log.claim(SLOT, ["a"], NOW + timedelta(days=121)) == ["a"]


def test_a_file_that_is_missing_or_cannot_be_read_is_said_and_kills_no_tick(tmp_path: Path, receiver: Receiver) -> None:
    look = Look(tmp_path, receiver.url)
    assert look.tick() == ["Nothing is published yet."]
    (tmp_path / "soundlink.duckdb").write_bytes(b"nonsense")
    assert look.tick()[0].startswith("The published file could not be read: ")


def test_a_file_of_older_models_is_said_with_what_to_do(look: Look, receiver: Receiver) -> None:
    with duckdb.connect(str(look.folder / "soundlink.duckdb")) as connection:
        connection.execute("drop table marts.settled_estimates")
    assert look.tick()[0].endswith("its models are of another version. Rebuild them.")
    assert look.tick() == ["Nothing has been published since the last look."]


def test_campaigns_of_one_name_are_told_apart(look: Look, receiver: Receiver) -> None:
    with duckdb.connect(str(look.folder / "soundlink.duckdb")) as connection:
        connection.execute("update marts.campaign_daily set campaign_name = 'Same'")
    look.tick()
    [body] = receiver.bodies
    for campaign in ("c1", "c2"):
        assert f"- Same ({campaign}): no stream for " in body["text"]


def test_a_log_that_is_damaged_is_said_and_nothing_is_sent_twice_for_it(look: Look, receiver: Receiver) -> None:
    (look.folder / "sent.sqlite").write_bytes(b"nonsense" * 200)
    assert look.tick()[0].startswith("sent.sqlite in the data folder cannot be used")
    assert receiver.bodies == []


def test_no_part_of_a_url_is_said_or_kept(look: Look, receiver: Receiver) -> None:
    receiver.answer(404, body=f"{receiver.url} {SECRET} {TOKEN}".encode())
    look.tick()
    shown = [*look.said, look.cursor or "", *(str(path.read_bytes()) for path in look.folder.iterdir())]
    for secret in (*SECRET.split("/"), TOKEN):
        assert not [text for text in shown if secret in text]


def test_it_is_off_unless_there_is_a_url_and_a_bad_one_is_an_error_without_it(tmp_path: Path) -> None:
    def sensor(url: str | None) -> dg.SensorDefinition:
        settings = Settings(sql_dir=without_models())
        defs = build_definitions(settings, lambda _: None, read_receivers={"SOUNDLINK_MARKETING_ALERT_URL": url}.get)
        return defs.resolve_sensor_def("marketing_alerts")

    assert sensor(None).default_status is dg.DefaultSensorStatus.STOPPED
    assert sensor("mailtos://a:b@example.com").default_status is dg.DefaultSensorStatus.RUNNING
    with pytest.raises(ValueError, match=r"^SOUNDLINK_MARKETING_ALERT_URL is plain http") as raised:
        sensor(f"http://hooks.example.com/{SECRET}")
    assert SECRET not in str(raised.value)
    assert Look(tmp_path, None).tick() == ["No receiver: SOUNDLINK_MARKETING_ALERT_URL is not set."]
