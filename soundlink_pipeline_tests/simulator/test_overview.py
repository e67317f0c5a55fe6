"""The simulator's totals of a campaign: what its own export adds up to, unless it is told to disagree."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from soundlink_pipeline.simulator import BREAKDOWN, Simulator
from soundlink_pipeline.simulator.overview import campaign_totals
from soundlink_pipeline_tests.simulator.shared import JANUARY, NOW, Keyed, error_of

FIELDS = (
    "listeners streams followers impressions ad_clicks link_clicks spend_media spend_total fees currency cpl cpf"
    " streams_per_listener"
)
RANGE = {"startDate": "2026-01-01", "endDate": "2026-01-31"}


@pytest.fixture
def sim(sim: Simulator) -> Iterator[Simulator]:
    yield sim
    sim.overview_off.clear()


def totals(sim: Simulator, api: Keyed, campaign: int = 0, /, **query: str) -> dict[str, Any]:
    path = f"/v1/campaigns/{sim.world.campaigns[campaign].path_id}/metrics/overview"
    data: dict[str, Any] = api.get(path, params=query).json(parse_float=Decimal)["data"]
    return data


def row(**figures: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("listeners", "streams", "followers", "impressions", "ad_clicks", "link_clicks"), 0)
    return {**counts, "spend_media": 0, "spend_total": 0, "fees": 0, "currency": "USD", **figures}


def test_totals_are_sums_in_which_what_is_unknown_counts_as_nothing() -> None:
    rows = [
        row(listeners=4, streams=10, impressions=7, link_clicks=None, spend_media=Decimal("1.10"), fees=1),
        row(listeners=6, streams=20, impressions=None, link_clicks=None, spend_media=Decimal("2.20"), fees=2),
    ]
    found = campaign_totals(rows, {})
    assert list(found) == FIELDS.split()
    assert (found["listeners"], found["streams"], found["impressions"], found["link_clicks"]) == (10, 30, 7, None)
    assert (found["spend_media"], found["fees"], found["currency"]) == (Decimal("3.30"), 3, "USD")
    assert (found["cpl"], found["cpf"], found["streams_per_listener"]) == (0.33, 0, 3.0)


def test_an_overview_is_what_the_export_of_the_same_range_adds_up_to(sim: Simulator, api: Keyed) -> None:
    rows = sim.world.rows(BREAKDOWN, sim.world.campaigns[1].uuid, *JANUARY, NOW)
    found = totals(sim, api, 1, **RANGE)
    assert len(rows) > 100
    for name in ("streams", "listeners", "spend_total"):
        assert found[name] == sum(item[name] for item in rows)


def test_an_overview_without_dates_is_of_the_campaign_s_whole_life(sim: Simulator, api: Keyed) -> None:
    campaign = sim.world.campaigns[1]
    rows = sim.world.rows(BREAKDOWN, campaign.uuid, campaign.start, NOW.date(), NOW)
    assert totals(sim, api, 1)["streams"] == sum(item["streams"] for item in rows)
    late = sum(item["streams"] for item in rows if item["report_date"] >= "2026-02-01")
    assert totals(sim, api, 1, startDate="2026-02-01")["streams"] == late
    # No cap on its range is named.
    assert totals(sim, api, 1, startDate="2025-01-01", endDate="2026-03-02") == totals(sim, api, 1)


def test_a_campaign_without_rows_has_totals_of_nothing(sim: Simulator, api: Keyed) -> None:
    found = totals(sim, api, 1, startDate="2025-01-01", endDate="2025-01-02")
    assert (found["streams"], found["spend_media"], found["impressions"], found["cpl"]) == (0, 0, None, 0)


def test_the_totals_disagree_by_what_they_are_told(sim: Simulator, api: Keyed) -> None:
    agreed = totals(sim, api, **RANGE)
    sim.overview_off.update(streams=10, spend_total=Decimal("-0.01"))
    found = totals(sim, api, **RANGE)
    assert found["streams"] == agreed["streams"] + 10
    assert found["spend_total"] == agreed["spend_total"] - Decimal("0.01")
    assert found["listeners"] == agreed["listeners"]


@pytest.mark.parametrize(
    ("query", "code"),
    [({"startDate": "2026-02-30"}, "invalid_query_parameter"), ({"endDate": "2025-01-01"}, "invalid_date_range")],
)
def test_dates_that_cannot_be_are_refused(sim: Simulator, api: Keyed, query: dict[str, str], code: str) -> None:
    path = f"/v1/campaigns/{sim.world.campaigns[0].path_id}/metrics/overview"
    assert error_of(api.get(path, params=query)) == (400, code)


def test_the_totals_need_the_scope_of_the_metrics(sim: Simulator, api: Keyed) -> None:
    path = f"/v1/campaigns/{sim.world.campaigns[0].path_id}/metrics/overview"
    refused = api.get(path, headers={"authorization": "Bearer sk_test_campaigns"})
    assert error_of(refused) == (403, "insufficient_scope")
    assert [record.kind for record in sim.stats.records] == ["overview"]
    assert error_of(api.get("/v1/campaigns/camp_unknown/metrics/overview")) == (404, "campaign_not_found")
