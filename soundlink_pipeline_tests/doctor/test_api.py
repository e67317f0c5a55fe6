"""What the doctor says of the API: key, scopes, host, clock and limits."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.doctor import requesting
from soundlink_pipeline.simulator import CAMPAIGNS_READ, METRICS_READ, SOUNDLINKS_READ, Fault, KeyInfo, World
from soundlink_pipeline.wording import in_words
from soundlink_pipeline_tests.support.examined import NOW, Examined, empty_project
from soundlink_pipeline_tests.support.project import KEY, Project, asked, failure_of, pull


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with empty_project(tmp_path) as made:
        yield made


@pytest.fixture
def pulled(here: Project) -> Project:
    """One with days pulled and nothing published."""
    pull(here.soundlink, "2026-02-22", "2026-03-01")
    return here


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (KeyInfo(revoked=True), "this API key was revoked"),
        (KeyInfo(expired=True), "this API key has expired"),
        (None, "the API does not know this key"),
    ],
)
def test_key_that_does_not_work_is_one_fault_and_nothing_else_is_asked(
    here: Project, info: KeyInfo | None, words: str
) -> None:
    here.sim.keys.clear()
    here.sim.keys["sk_other_key"] = KeyInfo()
    if info:
        here.sim.keys[KEY] = info
    examined = Examined(here)
    assert examined.bad("API") == [("FAULT", "key")]
    assert examined.one("API", "host").level == "ok"
    assert words in examined.one("API", "key").message
    assert "requestId" in examined.one("API", "key").message
    assert {record.path for record in here.sim.stats.records} == {"/v1/ping"}


@pytest.mark.parametrize("key", ["", "  ", "sk_test_with blank"])
def test_key_that_is_missing_or_cannot_be_one_is_a_fault_without_a_request(here: Project, key: str) -> None:
    examined = Examined(here, SOUNDLINK_API_KEY=key)
    assert ("FAULT", "SOUNDLINK_API_KEY") in examined.bad("API")
    assert here.sim.stats.records == []


def test_key_in_quotes_is_told_to_look_wrong(here: Project) -> None:
    examined = Examined(here, SOUNDLINK_API_KEY=f'"{KEY}"')
    assert examined.bad("API") == [("warn", "SOUNDLINK_API_KEY"), ("FAULT", "key")]
    assert not any(KEY in finding.message + finding.fix for finding in examined.all)


@pytest.mark.parametrize(("generation", "scheme"), [(1, "x-api-key"), (2, "bearer")])
def test_way_of_authenticating_that_works_is_told_and_requests_are_counted(
    here: Project, generation: int, scheme: str
) -> None:
    here.sim.generation = generation
    examined = Examined(here)
    assert examined.bad("API") == []
    assert examined.one("API", "key").message == f"is valid; sent as {scheme}"
    sent = len(here.sim.stats.records)
    assert sent == (5 if generation == 1 else 4)
    assert examined.one("API", "requests").message.startswith(f"{sent} made")


def test_missing_scope_for_campaigns_is_a_fault_unless_they_are_named(here: Project) -> None:
    here.sim.keys[KEY] = KeyInfo(scopes=frozenset({METRICS_READ}))
    none = [("FAULT", "campaigns:read"), ("FAULT", "soundlinks:read"), ("warn", "metrics:read")]
    assert Examined(here).bad("API") == none
    named = Examined(here, SOUNDLINK_CAMPAIGN_IDS=here.sim.world.campaigns[0].uuid)
    assert named.bad("API") == []
    assert "1 for each" not in named.one("API", "limits").message
    # One request tells that the key may not ask when they were created.
    assert "is not known of 1 of 1 campaign in" in named.one("API", "first day").message
    assert [record.kind for record in here.sim.stats.records].count("campaign") == 1
    two = ",".join(campaign.uuid for campaign in here.sim.world.campaigns[:2])
    here.sim.stats.reset()
    assert "of 2 of 2 campaigns" in Examined(here, SOUNDLINK_CAMPAIGN_IDS=two).one("API", "first day").message
    assert [record.kind for record in here.sim.stats.records].count("campaign") == 1


def test_missing_scope_for_metrics_is_a_fault(here: Project) -> None:
    here.sim.keys[KEY] = KeyInfo(scopes=frozenset({CAMPAIGNS_READ}))
    examined = Examined(here)
    assert examined.bad("API") == [("FAULT", "metrics:read")]
    assert examined.one("API", "soundlinks:read").message.startswith(
        "soundlinks are left out: the API key lacks the scope"
    )
    assert "code insufficient_scope" in examined.one("API", "metrics:read").message


def test_export_is_asked_for_one_closed_day_by_the_apis_clock_and_not_kept(here: Project) -> None:
    assert Examined(here).bad("API") == []
    ((_, query),) = asked(here.sim)
    assert query == "startDate=2026-03-01&endDate=2026-03-01"
    assert not here.data.exists()


SOUNDLINKS_ONLY = KeyInfo(scopes=frozenset({SOUNDLINKS_READ}))


def with_soundlinks(here: Project, number: int) -> None:
    here.sim.world.soundlinks += World(soundlinks=number).soundlinks


def test_a_family_that_was_pulled_before_and_is_refused_now_is_a_fault_as_the_run_fails(here: Project) -> None:
    with_soundlinks(here, 1)
    pull(here.soundlink, "2026-02-22", "2026-03-01", exports=EXPORTS)
    of_campaigns, of_soundlinks = (in_words([export.name for export in part]) for part in (EXPORTS[:2], EXPORTS[2:]))
    for lacking, exports in ((METRICS_READ, of_campaigns), (SOUNDLINKS_READ, of_soundlinks)):
        scopes = frozenset({CAMPAIGNS_READ, METRICS_READ, SOUNDLINKS_READ}) - {lacking}
        here.sim.keys[KEY] = KeyInfo(scopes=scopes)
        examined = Examined(here)
        assert examined.bad("API") == [("FAULT", lacking)]
        finding = examined.one("API", lacking)
        assert f"Runs fail, since {exports} were pulled before" in finding.message
        assert finding.fix == "create a key that has this scope, too"
    said = failure_of(here.refresh("2026-02-22", "2026-03-01"))
    assert said.startswith(f"Nothing could be requested of {of_soundlinks}; 6 other pulls loaded. To pull ")


def test_a_family_that_the_key_was_never_meant_for_is_left_out_as_the_run_does(here: Project) -> None:
    with_soundlinks(here, 1)
    here.sim.keys[KEY] = KeyInfo(scopes=frozenset({CAMPAIGNS_READ, SOUNDLINKS_READ}))
    examined = Examined(here)
    assert examined.bad("API") == []
    left = "campaign_country_daily and campaign_engagement_daily are left out: the API key lacks the scope"
    assert examined.one("API", METRICS_READ).message.startswith(left)
    assert "needs 4: 2 exports of 1 soundlink, 2 for the listings" in examined.one("API", "limits").message
    assert here.refresh("2026-02-22", "2026-03-01").success


def test_an_account_of_soundlinks_alone_has_nothing_to_mend(here: Project) -> None:
    with_soundlinks(here, 1)
    here.sim.keys[KEY] = SOUNDLINKS_ONLY
    assert Examined(here).bad("API") == []
    here.sim.keys[KEY] = KeyInfo()
    here.sim.world.campaigns.clear()
    examined = Examined(here)
    assert examined.bad("API") == []
    assert examined.one("API", METRICS_READ).message == "not checked: there is no campaign to pull"


def test_a_named_campaign_that_the_api_does_not_know_says_what_to_do(here: Project) -> None:
    # The key may not list campaigns, so that nothing but an export shows it.
    here.sim.keys[KEY] = KeyInfo(scopes=frozenset({METRICS_READ}))
    examined = Examined(here, SOUNDLINK_CAMPAIGN_IDS="camp_1")
    assert examined.bad("API") == [("FAULT", METRICS_READ)]
    finding = examined.one("API", METRICS_READ)
    assert finding.message.startswith("campaign_country_daily of camp_1: the API refuses the request with HTTP 404")
    assert finding.fix == "correct camp_1 in SOUNDLINK_CAMPAIGN_IDS, or take it out: runs fail for it"
    assert examined.one("API", "limits").level == "ok"  # and what comes after it is looked at


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_refused_connection_unknown_name_and_bad_certificate_are_told_apart(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fix(base_url: str) -> str:
        examined = Examined(here, SOUNDLINK_BASE_URL=base_url)
        assert examined.bad("API") == [("FAULT", "host")]
        return examined.one("API", "host").fix

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert fix(f"http://127.0.0.1:{closed_port()}").startswith("it refuses connections")
    # A server that speaks no TLS is the simplest that fails its handshake.
    assert fix(here.sim.base_url.replace("http:", "https:")).startswith("its certificate is not trusted")
    real = socket.getaddrinfo

    def unknown(host: str, *rest: object, **more: object) -> object:
        if host == "api.nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert fix("https://api.nowhere.invalid").startswith("its name cannot be resolved")


def test_failing_api_is_a_fault_with_its_request_id(here: Project) -> None:
    here.sim.faults.add(Fault("status", match="/v1/ping", times=None))
    examined = Examined(here)
    assert examined.bad("API") == [("FAULT", "answer")]
    assert "HTTP 500" in examined.one("API", "answer").message
    assert "requestId" in examined.one("API", "answer").message


def test_silent_api_does_not_hold_the_doctor_up(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requesting, "_TIMEOUT", httpx.Timeout(0.3))
    here.sim.faults.add(Fault("hang", match="/v1/campaigns", times=None, seconds=60.0))
    started = time.monotonic()
    examined = Examined(here)
    assert examined.bad("API") == [("FAULT", "host")]
    assert time.monotonic() - started < 12
    assert examined.one("API", "key").level == "ok"
    assert "fell silent" in next(finding.message for finding in examined.group("API") if finding.level == "FAULT")


def test_api_that_asks_for_a_long_wait_is_left_alone(pulled: Project) -> None:
    before = len(pulled.sim.stats.records)
    pulled.sim.faults.add(
        Fault("status", match="/v1/campaigns", status=429, code="rate_limit_exceeded", retry_after=900)
    )
    started = time.monotonic()
    assert Examined(pulled).bad("API") == [("warn", "limits")]
    assert time.monotonic() - started < 30
    assert len(pulled.sim.stats.records) == before + 2
    # A run knows of it too, and so does the next look.
    assert Examined(pulled).bad("API") == [("warn", "limits")]
    assert len(pulled.sim.stats.records) == before + 2


def test_used_up_hour_is_a_warning_and_no_request_is_made(here: Project) -> None:
    with Pacer(here.data / "requests.sqlite", 10, 10) as pacer:
        for _ in range(10):
            pacer.acquire()
    examined = Examined(here, SOUNDLINK_REQUESTS_PER_HOUR="10", SOUNDLINK_REQUESTS_PER_MINUTE="10")
    assert examined.bad("API") == [("warn", "limits")]
    assert examined.one("API", "limits").message.startswith("are used up for now")
    assert here.sim.stats.records == []


def test_requests_are_counted_with_those_of_the_runs(pulled: Project) -> None:
    def left() -> int:
        with pulled.soundlink.connect(lambda _: None) as (_, pacer):
            return pacer.left_this_hour()

    before = left()
    assert Examined(pulled).bad("API") == []
    assert before - left() == 4


def test_damaged_count_of_requests_is_a_fault_that_says_what_to_do(pulled: Project) -> None:
    (pulled.data / "requests.sqlite").write_bytes(b"no database" * 500)
    examined = Examined(pulled)
    assert examined.bad("API") == [("FAULT", "requests.sqlite")]
    assert examined.one("API", "requests.sqlite").fix.startswith("delete it")


@pytest.mark.parametrize(("minutes", "level"), [(4, "ok"), (6, "warn"), (-6, "warn")])
def test_clock_that_is_off_is_warned_of(here: Project, minutes: int, level: str) -> None:
    finding = Examined(here, now=NOW + timedelta(minutes=minutes)).one("API", "clock")
    assert finding.level == level
    if level == "warn":
        assert f"6 min {'ahead of' if minutes > 0 else 'behind'} the API's" in finding.message


def test_limits_are_compared_with_what_a_daily_refresh_needs(here: Project) -> None:
    finding = Examined(here).one("API", "limits")
    assert "a daily refresh needs 8: 6 exports of 3 campaigns, 2 for the listings" in finding.message
    few = Examined(here, SOUNDLINK_REQUESTS_PER_HOUR="9", SOUNDLINK_REQUESTS_PER_MINUTE="9").one("API", "limits")
    assert few.level == "warn"
    assert few.message.startswith("5 of 9 requests left this hour")


def test_soundlinks_that_have_rows_are_counted_as_a_refresh_asks_for_them(here: Project) -> None:
    with_soundlinks(here, 4)
    pull(here.soundlink, "2026-02-22", "2026-03-01", exports=EXPORTS)
    said = Examined(here).one("API", "limits").message
    here.sim.stats.reset()
    assert here.refresh("2026-02-22", "2026-03-01").success
    requests = [record.query for record in here.sim.stats.records if record.kind.endswith("export")]
    listings = [record for record in here.sim.stats.records if record.kind in ("campaigns", "soundlinks")]
    assert len(listings) == 2  # the rest are details, which a run asks for once
    assert f"a daily refresh needs {len(requests) + 2}: {len(requests)} exports of 3 campaigns and" in said
    assert re.search(r" and [1-4] soundlinks?, 2 for the listings$", said)


def test_days_on_which_campaigns_were_there_before_the_first_partition_are_told(here: Project) -> None:
    earliest = min(campaign.created_at for campaign in here.sim.world.campaigns).date()
    finding = Examined(here, SOUNDLINK_START_DATE=str(earliest + timedelta(days=41))).one("API", "first day")
    assert (finding.level, finding.message) == (
        "ok",
        f"the earliest campaign was created on {earliest}; the 41 days from then to SOUNDLINK_START_DATE"
        f" ({earliest + timedelta(days=41)}) are left out",
    )
    # Of campaigns that the settings name nothing is listed: each is asked for.
    names = [campaign.path_id for campaign in here.sim.world.campaigns]
    start = str(earliest + timedelta(days=41))
    for named, unknown in ((names, []), ([*names, "camp_1", "camp_2"], ["camp_1", "camp_2"])):
        here.sim.stats.reset()
        examined = Examined(here, SOUNDLINK_CAMPAIGN_IDS=",".join(named), SOUNDLINK_START_DATE=start)
        told, *more = [finding for finding in examined.group("API") if finding.what == "first day"]
        assert (told.level, told.message) == ("ok", finding.message)
        assert [record.kind for record in here.sim.stats.records].count("campaign") == len(named)
        assert more == []
        # A run would fail for one that the API does not know.
        assert examined.bad("API") == [("FAULT", "SOUNDLINK_CAMPAIGN_IDS")] * len(unknown)
        found = [finding for finding in examined.group("API") if finding.level == "FAULT"]
        for listed_id, finding in zip(unknown, found, strict=True):
            assert finding.message.startswith(f"{listed_id}: the API refuses the request with HTTP 404")
            assert finding.fix == f"correct {listed_id} in SOUNDLINK_CAMPAIGN_IDS, or take it out: runs fail for it"
    on_time = Examined(here, SOUNDLINK_START_DATE=str(earliest))
    assert [finding for finding in on_time.group("API") if finding.what == "first day"] == []
