"""Days that shrink: whole answers with too few rows of one day, once, for good, or other ones each time."""

import json
from collections.abc import Iterator
from datetime import date

import pytest

from soundlink_pipeline.simulator import BREAKDOWN, ENGAGEMENT, Shrinking, Simulator
from soundlink_pipeline_tests.simulator.shared import JANUARY, NOW, Keyed, export_url

DAY = date(2026, 1, 20)


@pytest.fixture
def shrinking(sim: Simulator) -> Iterator[Simulator]:
    yield sim
    sim.shrinking.clear()


def codes(sim: Simulator, api: Keyed, export: str = BREAKDOWN, campaign: int = 1) -> list[str]:
    """The countries of the day's rows in one answer, whose other days are whole."""
    answer = api.get(export_url(sim, campaign, export))
    rows = [json.loads(line) for line in answer.iter_lines()]
    assert answer.headers["X-Row-Count"] == str(len(rows))
    whole = sim.world.rows(export, sim.world.campaigns[campaign].uuid, *JANUARY, NOW)
    others = [row["country_code"] for row in whole if row["report_date"] != str(DAY)]
    assert [row["country_code"] for row in rows if row["report_date"] != str(DAY)] == others
    return [row["country_code"] for row in rows if row["report_date"] == str(DAY)]


def test_it_passes_after_one_answer_for_each_export_and_campaign(shrinking: Simulator, api: Keyed) -> None:
    whole = codes(shrinking, api)
    shrinking.shrinking.add(Shrinking(DAY, keep=2))
    assert [codes(shrinking, api), codes(shrinking, api)] == [whole[:2], whole]
    assert len(codes(shrinking, api, ENGAGEMENT)) == len(codes(shrinking, api, campaign=0)) == 2


def test_it_stays_where_it_is_for_good_and_for_one_campaign_alone(shrinking: Simulator, api: Keyed) -> None:
    whole = codes(shrinking, api)
    campaign = shrinking.world.campaigns[1].path_id
    shrinking.shrinking.add(Shrinking(DAY, export=BREAKDOWN, campaign=campaign, answers=None))
    assert [codes(shrinking, api) for _ in range(3)] == [[]] * 3
    assert len(codes(shrinking, api, campaign=0)) > 2
    assert len(codes(shrinking, api, ENGAGEMENT)) > 2
    shrinking.shrinking.clear()
    assert codes(shrinking, api) == whole


def test_days_of_few_rows_can_be_spared(shrinking: Simulator, api: Keyed) -> None:
    whole = codes(shrinking, api)
    shrinking.shrinking.add(Shrinking(DAY, least=len(whole) + 1))
    assert codes(shrinking, api) == whole
    shrinking.shrinking.add(Shrinking(DAY, least=len(whole)))
    assert codes(shrinking, api) == []


def test_other_rows_stay_each_time(shrinking: Simulator, api: Keyed) -> None:
    whole = codes(shrinking, api)
    shrinking.shrinking.add(Shrinking(DAY, keep=1, answers=None, moving=True))
    assert [codes(shrinking, api) for _ in range(2)] == [whole[:1], whole[1:2]]
