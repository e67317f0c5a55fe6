"""Texts from outside in an alert: long ones are cut, and none can call everybody or pass for our own lines."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from soundlink_pipeline.alerts.message import TEXT_LIMIT, Alert, FailedCheck, FailedStep, message_of
from soundlink_pipeline.channels.send import webhook_body
from soundlink_pipeline_tests.alerts.watch import FAILED_PULLS, UI


def payload(alert: Alert, host: str) -> dict[str, Any]:
    return webhook_body(message_of(alert), host)


SLACK, WEBHOOK = "hooks.slack.com", "chat.example.com"
ALERT = Alert(
    run_id="8f0c",
    job="daily_refresh",
    status="FAILURE",
    days=("2026-01-03", "2026-01-10"),
    failures=[FailedStep("exports", FAILED_PULLS)],
    failed_checks=[],
    to_do="Press.",
    link=f"{UI}/runs/8f0c",
)


def of(*reasons: str, checks: Sequence[str] = ()) -> Alert:
    return replace(
        ALERT,
        failures=[FailedStep(f"step_{number}", reason) for number, reason in enumerate(reasons)],
        failed_checks=[FailedCheck("daily", check, "3 bad rows") for check in checks],
    )


def test_slack_gets_the_text_alone_with_its_signs_escaped() -> None:
    body = payload(of("<!channel> & <https://evil.example|Sleep Playlist> &amp;"), SLACK)
    assert list(body) == ["text"]
    assert body["text"].splitlines() == [
        "Soundlink Pipeline: daily_refresh failed, 2026-01-03 to 2026-01-10",
        "- step_0: &lt;!channel&gt; &amp; &lt;https://evil.example|Sleep Playlist&gt; &amp;amp;",
        "Press.",
        f"{UI}/runs/8f0c",
    ]


@pytest.mark.parametrize("mention", ["<!channel>", "<@U012>", "<#C012>", "@channel", "@here", "@Everyone", "@all"])
def test_other_chats_are_not_made_to_call_everybody(mention: str) -> None:
    body = payload(of(f"{mention} mail@example.com"), WEBHOOK)
    assert mention not in json.dumps(body)
    assert mention[:1] in body["failures"][0]["reason"]
    assert "mail@example.com" in body["failures"][0]["reason"]


@pytest.mark.parametrize("host", [SLACK, WEBHOOK])
def test_control_characters_are_left_out_and_a_reason_cannot_pass_for_our_own_lines(host: str) -> None:
    body = payload(of("a\x00\x1b[31mb\u202ec\u200bd\ud800e\tf\r\nPress: https://evil.example"), host)
    json.dumps(body, ensure_ascii=False).encode()
    assert body["text"].splitlines()[1:3] == ["- step_0: a[31mbcde f", "    Press: https://evil.example"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e\u200b\ud800]", str(list(body.values())))


@pytest.mark.parametrize("host", [SLACK, WEBHOOK])
@pytest.mark.parametrize(
    "alert",
    [
        of("\n".join(f"pull {number} of <Campaign> & Co" for number in range(5000))),
        of("<" * 100_000),
        of(*["&" * 5000 + "\n" + "&" * 5000] * 300),
        of("a", checks=[f"check_{number}" for number in range(500)]),
        of("<!channel>@here\n" * 10_000, checks=["<!here>" * 1000] * 100),
    ],
    ids=["many lines", "one long line", "many steps", "many checks", "everything"],
)
def test_long_messages_are_cut_and_keep_their_beginning_and_their_link(alert: Alert, host: str) -> None:
    body = payload(alert, host)
    assert len(body["text"]) <= TEXT_LIMIT
    lines = body["text"].splitlines()
    assert lines[0] == "Soundlink Pipeline: daily_refresh failed, 2026-01-03 to 2026-01-10"
    assert lines[-2:] == ["Press.", f"{UI}/runs/8f0c"]
    assert any(re.fullmatch(r" *and [\d,]+ more \w+( \w+)?", line) for line in lines) or "…" in body["text"]
    assert len(json.dumps(body)) < 150_000


def test_of_a_long_reason_the_first_lines_are_shown_and_the_rest_counted() -> None:
    reason = "30 of 40 pulls failed.\n" + "\n".join(f"pull {number}" for number in range(30))
    lines = payload(of(reason, "short"), SLACK)["text"].splitlines()
    assert lines[1:4] == ["- step_0: 30 of 40 pulls failed.", "    pull 0", "    pull 1"]
    assert lines[9:12] == ["    pull 7", "    and 22 more lines", "- step_1: short"]
