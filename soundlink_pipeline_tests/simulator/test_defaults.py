"""What a question means that says little: ranges, orders and pages as documented; and what only the detail tells."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Simulator
from soundlink_pipeline_tests.simulator.shared import Keyed, error_of, export_url

NINETY = timedelta(days=89)


def metrics(sim: Simulator, campaign: int = 1) -> str:
    return f"/v1/campaigns/{sim.world.campaigns[campaign].path_id}/metrics"


def covered(sim: Simulator, api: Keyed, path: str, first: date, last: date, campaign: int = 1) -> None:
    """An export that is asked for without some date covers these days."""
    export = BREAKDOWN if "/breakdown/" in path else ENGAGEMENT
    key = {"x-api-key": sim.key} if sim.generation == 1 else {"authorization": f"Bearer {sim.key}"}
    answer = api.get(metrics(sim, campaign) + path, headers=key)
    assert f"_{first}_{last}.jsonl" in answer.headers["Content-Disposition"]
    days = (sim.world.campaigns[campaign].uuid, first, last, sim.clock.now())
    assert int(answer.headers["X-Row-Count"]) == len(sim.world.rows(export, *days)) > 0


@pytest.mark.parametrize("metric", ["breakdown", "engagement"])
def test_an_export_without_dates_covers_the_last_ninety_days(sim: Simulator, api: Keyed, metric: str) -> None:
    sim.clock.set(datetime(2026, 5, 10, 23, 59, tzinfo=UTC))
    today = date(2026, 5, 10)
    covered(sim, api, f"/{metric}/export", today - NINETY, today)
    covered(sim, api, f"/{metric}/export?startDate=2026-05-01", date(2026, 5, 1), today)
    covered(sim, api, f"/{metric}/export?endDate=2026-04-30", date(2026, 4, 30) - NINETY, date(2026, 4, 30))
    too_long = api.get(f"{metrics(sim)}/{metric}/export?startDate=2026-02-09")
    assert error_of(too_long) == (400, "invalid_query_parameter")


def test_the_first_generation_s_export_without_dates_covers_the_campaign_s_period(sim: Simulator, api: Keyed) -> None:
    sim.clock.set(datetime(2026, 8, 1, tzinfo=UTC))
    sim.generation = 1
    short, long = sim.world.campaigns[3], sim.world.campaigns[0]
    covered(sim, api, "/breakdown/export", short.start, short.last_day, 3)
    covered(sim, api, "/engagement/export", short.start, short.last_day + timedelta(days=30), 3)
    assert long.duration > 90
    covered(sim, api, "/breakdown/export", long.last_day - NINETY, long.last_day, 0)


@pytest.mark.parametrize(
    ("end", "expected"), [("0001-01-01", 200), ("9999-12-31", 200), ("0000-01-01", 400), ("10000-01-01", 400)]
)
def test_the_ends_of_the_calendar_are_no_fault(sim: Simulator, api: Keyed, end: str, expected: int) -> None:
    for path in ("breakdown/export", "engagement/export", "engagement"):
        assert api.get(f"{metrics(sim)}/{path}?endDate={end}").status_code == expected


def test_pages_cover_the_campaign_s_life_or_ninety_days(sim: Simulator, api: Keyed) -> None:
    sim.clock.set(datetime(2026, 5, 30, 12, tzinfo=UTC))
    campaign, today = sim.world.campaigns[0], date(2026, 5, 30)

    def count(metric: str, query: str = "") -> int:
        found: int = api.get(f"{metrics(sim, 0)}/{metric}{query}").json()["data"]["pagination"]["totalCount"]
        return found

    now = sim.clock.now()
    assert today - campaign.start > NINETY
    assert count("breakdown") == len(sim.world.rows(BREAKDOWN, campaign.uuid, campaign.start, today, now))
    assert count("engagement") == len(sim.world.rows(ENGAGEMENT, campaign.uuid, today - NINETY, today, now))
    assert count("breakdown", "?startDate=2026-01-01&endDate=2026-05-30") == count("breakdown")


def test_pages_are_sorted_as_asked(sim: Simulator, api: Keyed) -> None:
    def column(metric: str, name: str, **query: str) -> list[Any]:
        items = api.get(f"{metrics(sim)}/{metric}", params={"pageSize": "500", **query}).json()["data"]["items"]
        return [item[name] for item in items]

    days = column("breakdown", "report_date")
    assert days == sorted(days) != sorted(days, reverse=True), "of the breakdown the SDK says asc"
    assert column("breakdown", "report_date", sortOrder="desc") == sorted(days, reverse=True)
    spent = column("breakdown", "spend_total", sortBy="spend_total", sortOrder="desc")
    assert spent == sorted(spent, reverse=True)
    days = column("engagement", "report_date")
    assert days == sorted(days, reverse=True)
    assert column("engagement", "report_date", sortBy="report_date", sortOrder="asc")[0] < days[-1]


def test_campaigns_are_listed_newest_first_or_as_asked(sim: Simulator, api: Keyed) -> None:
    def listed(query: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = api.get(f"/v1/campaigns?pageSize=100{query}").json()["data"]["items"]
        return items

    created = [item["createdAt"] for item in listed("")]
    assert created == sorted(created, reverse=True)
    assert [item["createdAt"] for item in listed("&sortOrder=asc")] == sorted(created)
    statuses = [item["status"] for item in listed("&sortBy=status&sortOrder=asc")]
    assert statuses == sorted(statuses)
    assert len(set(statuses)) > 2
    assert error_of(api.get("/v1/campaigns?sortBy=")) == (400, "invalid_query_parameter")


def test_the_detail_tells_more_than_the_list(sim: Simulator, api: Keyed) -> None:
    details = []
    for item in api.get("/v1/campaigns?pageSize=100").json()["data"]["items"]:
        detail = api.get(f"/v1/campaigns/{item['campaignId']}").json()["data"]
        details.append(detail)
        assert list(detail) == [*item, "strategyType", "autoRenew"]
        assert detail.items() >= item.items()
        assert item["socialPlatform"] == "meta"
        assert item["campaignUrl"].endswith("/insights")
    assert {detail["autoRenew"] for detail in details} == {True, False}
    assert len({detail["strategyType"] for detail in details}) == 4


def test_a_ping_names_the_organization_in_the_current_generation_only(sim: Simulator, api: Keyed) -> None:
    assert api.get("/v1/ping").json()["data"] == {"status": "ok", "organizationId": sim.world.account_id}
    sim.generation = 1
    assert api.get("/v1/ping", headers={"x-api-key": sim.key}).json()["data"] == {"status": "ok"}


def test_an_unknown_parameter_is_passed_over(sim: Simulator, api: Keyed) -> None:
    assert api.get(export_url(sim) + "&colour=red").content == api.get(export_url(sim)).content
    assert json.loads(api.get(export_url(sim)).content.split(b"\n")[0])["account_id"] == sim.world.account_id
