"""How far a pull is: what is counted, when a line is due, and what it says. The clock is the test's own."""

from __future__ import annotations

from datetime import date

import pytest

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.pulling.chosen import Unknown, chosen
from soundlink_pipeline.pulling.planning import PullRequest, duration
from soundlink_pipeline.pulling.progress import Estimate, Lines, Progress
from soundlink_pipeline.wording import size
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS

ONE, OTHER = CAMPAIGN_EXPORTS
DAYS = DateRange(date(2026, 2, 1), date(2026, 2, 3))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def planned() -> Progress:
    progress = Progress()
    progress.plan([PullRequest(export, campaign, DAYS) for export in CAMPAIGN_EXPORTS for campaign in ("a", "b")])
    return progress


def test_accounts_whose_requests_wait_are_named_for_as_long_as_they_do() -> None:
    clock = Clock()
    progress, after = Progress(clock=clock), "until the API may be asked again"
    assert progress.waiting() == ""
    progress.wait("bolt", 30)
    assert progress.waiting() == f"; account bolt waits {after}"
    assert Lines(progress, clock).next().endswith(f"; account bolt waits {after}")
    progress.wait("acme", 5)
    assert progress.waiting() == f"; accounts acme and bolt wait {after}"
    clock.now += 6
    assert progress.waiting() == f"; account bolt waits {after}"
    clock.now += 30
    assert progress.waiting() == ""
    progress.wait("", 5)  # an only account has no name that anybody gave it
    assert progress.waiting() == f"; waits {after}"


def test_each_export_is_counted() -> None:
    progress = planned()
    progress.receive(ONE.name, 1000)
    progress.receive(ONE.name, 500)
    progress.answer(ONE.name)
    progress.plan([PullRequest(OTHER, "c", DAYS)])  # further requests, of a step that goes on
    assert [(name, item.done, item.requests, item.bytes) for name, item in progress.exports.items()] == [
        (ONE.name, 1, 2, 1500),
        (OTHER.name, 0, 3, 0),
    ]
    assert (progress.done, progress.requests, progress.bytes, progress.rows) == (1, 5, 1500, 0)


def test_a_slow_stream_has_a_line_every_ten_seconds() -> None:
    clock, progress = Clock(), planned()
    lines = Lines(progress, clock)
    for number in range(1, 13):
        clock.now += 9.9
        progress.receive(ONE.name, 1000)
        assert not lines.due()
        assert lines.until_next() == pytest.approx(0.1)
        clock.now += 0.1
        assert lines.due()
        assert lines.next() == f"0 of 4 exports fetched, 0 rows loaded, {received(number)} received"


def received(number: int) -> str:
    return f"{number},000 B" if number < 10 else f"{number} kB"


def test_no_line_of_a_stream_is_like_the_one_before_however_slow_it_is() -> None:
    clock, progress = Clock(), planned()
    progress.receive(ONE.name, 250_000_000)
    lines, said = Lines(progress, clock), []
    for arrived in (0, 64, 64, 5000, 500_000, 0):
        progress.receive(ONE.name, arrived)
        clock.now += 10
        said.append(lines.next().partition("loaded, ")[2])
    assert said == [
        "250.0 MB received",
        "250,000,064 B received",
        "250,000,128 B received",
        "250,005 kB received",
        "250.5 MB received",
        "250.5 MB received, nothing has arrived for 10 s",
    ]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (64, "64 B"), (9_999, "9,999 B"), (10_000, "10 kB"), (9_400_000, "9,400 kB"), (12_340_000, "12.3 MB")],
)
def test_a_size_is_told_in_its_unit(count: int, shown: str) -> None:
    assert size(count) == size(count, count) == shown


def test_a_duration_may_be_told_to_the_second() -> None:
    assert [duration(seconds) for seconds in (40, 200, 7200)] == ["40 s", "3 min", "2.0 h"]
    assert [duration(seconds, exact=True) for seconds in (40, 200, 7200)] == ["40 s", "3 min 20 s", "120 min 0 s"]


def test_where_nothing_arrives_lines_say_so_ever_further_apart_until_something_does() -> None:
    clock, progress = Clock(), planned()
    lines, said = Lines(progress, clock), []
    for _ in range(400):
        clock.now += 1
        assert 0 < lines.until_next() <= 10
        if lines.due():
            said.append((clock.now - 1000, lines.next().partition("received, ")[2]))
    assert said == [
        (10, "nothing has arrived for 10 s"),
        (30, "nothing has arrived for 30 s"),
        (70, "nothing has arrived for 70 s"),
        (150, "nothing has arrived for 2 min"),
        (310, "nothing has arrived for 5 min"),
    ]
    progress.receive(ONE.name, 1)
    clock.now += 1
    assert lines.due()
    assert lines.next() == "0 of 4 exports fetched, 0 rows loaded, 1 B received"
    clock.now += 10
    assert lines.due()


def test_an_estimate_that_has_run_out_is_not_repeated() -> None:
    clock = Clock()
    estimate = Estimate(clock)
    assert estimate.words(0, 4) == ""  # by nothing that is done, nothing can be told
    clock.now += 30
    assert estimate.words(2, 4) == ", about 30 s to go"
    clock.now += 20
    assert estimate.words(2, 4) == ", about 10 s to go"
    for _ in range(12):
        clock.now += 10
        assert estimate.words(2, 4) == ""
    clock.now += 10
    assert estimate.words(3, 4) == ", about 60 s to go"
    assert estimate.words(4, 4) == ""


# Which campaigns are meant

NAMES = {"camp_1": {"Don't Stop", "row_1"}, "camp_2": {"Ke$ha"}, "camp_3": {"Same"}, "camp_4": {"same", ""}}


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (["camp_2"], ["camp_2"]),
        (["row_1"], ["camp_1"]),
        (["don't stop "], ["camp_1"]),
        (["SAME"], ["camp_3", "camp_4"]),
        (["Ke$ha", "camp_1", "camp_2"], ["camp_2", "camp_1"]),
    ],
)
def test_a_campaign_is_meant_by_an_id_or_a_name(wanted: list[str], ids: list[str]) -> None:
    assert chosen(CAMPAIGN, wanted, NAMES) == ids


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("Dont Stop", "no campaign has the id or name 'Dont Stop'; near it are \"Don't Stop\""),
        ("Stop", "no campaign has the id or name 'Stop'; near it are \"Don't Stop\""),
        ("camp_9", "no campaign has the id or name 'camp_9'; near it are 'camp_4', 'camp_3', 'camp_2', 'camp_1'"),
    ],
)
def test_of_an_unknown_one_those_near_it_are_named(wanted: str, said: str) -> None:
    with pytest.raises(Unknown) as refused:
        chosen(CAMPAIGN, ["camp_1", wanted], NAMES)
    assert str(refused.value) == said


def test_where_none_comes_near_some_are_named() -> None:
    with pytest.raises(Unknown, match=r"'\?\?'; there are .* and others of 7"):
        chosen(CAMPAIGN, ["??"], {f"camp_{number}": {f"Name {number}"} for number in range(7)})
    with pytest.raises(Unknown, match="no campaign is known"):
        chosen(CAMPAIGN, ["x"], {})
