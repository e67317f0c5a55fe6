"""What the doctor says of receivers: whether each can be one, with nothing of a URL and nothing sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from soundlink_pipeline.doctor.receivers import check_receivers
from soundlink_pipeline_tests.support.examined import Examined, empty_project
from soundlink_pipeline_tests.support.mail_server import mail_server
from soundlink_pipeline_tests.support.project import Project

SECRET = "word-SECRET1"
GOOD = f"mailtos://somebody:{SECRET}@example.com?to=anna@example.com"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with empty_project(tmp_path) as project:
        yield project


def test_each_setting_is_told_and_a_bad_one_is_one_sentence_without_the_url() -> None:
    found = list(
        check_receivers(
            {
                "SOUNDLINK_ALERT_URL": f"https://hooks.example.com/x {GOOD}",
                "SOUNDLINK_MARKETING_ALERT_URL": f"{GOOD} nosuchservice://{SECRET}",
                "SOUNDLINK_REPORT_URL": f"mailto://somebody:{SECRET}@example.com",
            }
        )
    )
    assert [(finding.level, finding.what) for finding in found] == [
        ("ok", "SOUNDLINK_ALERT_URL"),
        ("warn", "SOUNDLINK_MARKETING_ALERT_URL"),
        ("warn", "SOUNDLINK_REPORT_URL"),
    ]
    assert found[0].message == "2 receivers, of a kind that is known"
    assert found[1].message.startswith("receiver 2 of 2: the URL is none that Apprise knows")
    assert "would travel in clear" in found[2].message
    assert not [finding for finding in found if SECRET in finding.message + finding.fix]


def test_nothing_is_said_of_settings_that_are_not_set_and_nothing_is_sent() -> None:
    assert list(check_receivers({"SOUNDLINK_REPORT_URL": "  "})) == []
    with mail_server() as server:
        url = f"mailto://127.0.0.1:{server.port}?to=anna@example.com&from=a@example.com"
        [finding] = check_receivers({"SOUNDLINK_REPORT_URL": url})
    assert (finding.level, server.connections) == ("ok", 0)


def test_the_doctor_shows_no_part_of_any_receiver(here: Project) -> None:
    examined = Examined(here, SOUNDLINK_REPORT_URL=f"{GOOD} nosuchservice://{SECRET}")
    finding = examined.one("Settings", "SOUNDLINK_REPORT_URL")
    assert finding.level == "warn"
    for title in ("Settings", "Dagster"):
        assert not [found for found in examined.group(title) if "SECRET" in found.message + found.fix]


def test_what_is_switched_on_by_a_setting_says_by_which(here: Project) -> None:
    examined = Examined(here)
    for name, setting in (
        ("alerts", "SOUNDLINK_ALERT_URL"),
        ("marketing_alerts", "SOUNDLINK_MARKETING_ALERT_URL"),
        ("weekly_report_schedule", "SOUNDLINK_REPORT_URL"),
    ):
        finding = examined.one("Dagster", name)
        assert (finding.level, finding.message) == ("ok", f"is stopped: {setting} is not set")
