"""What the API promises of rows: each promise is broken here by one row or delivery, and told with that row."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.quality.checked_days import checked_days
from soundlink_pipeline.quality.row_checks import CheckResult, row_checks, run_checks
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.deliveries import APRIL, NOON, Row, arrival, load, row
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS

DAY = DateRange(date(2026, 4, 1), date(2026, 4, 8))  # the documented rows are of its first and its last day
TRACK, PLAYLIST = "6habFhsOp2NvndAvgiJ01P", "37i9dQZF1DX4sWSpwq3LiO"


@pytest.fixture
def warehouse(tmp_path: Path) -> NativeFile:
    return NativeFile(tmp_path / "data", wait_seconds=0)


def asked(
    warehouse: NativeFile, export: Export, dates: DateRange = DAY, run_id: str | None = None
) -> dict[str, CheckResult]:
    """The result of each check, in the run `run_id` if one is given."""
    with warehouse.read() as connection:
        loaded = Ledger(connection).delivered_by([run_id] if run_id else [])
        return {answer.check.name: answer for answer in run_checks(connection, export, dates, loaded)}


def broken(warehouse: NativeFile, export: Export, dates: DateRange = DAY, run_id: str | None = None) -> set[str]:
    return {name for name, answer in asked(warehouse, export, dates, run_id).items() if not answer.passed}


def only_row(answer: CheckResult) -> dict[str, Any]:
    (values,) = answer.rows
    return dict(zip(answer.columns, values, strict=True))


def put(warehouse: NativeFile, folder: Path, export: Export, rows: list[Row], **how: Any) -> None:
    assert load(warehouse, arrival(folder, rows, export=export, **how)).rejected == []


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)
def test_the_documented_rows_keep_every_promise(warehouse: NativeFile, tmp_path: Path, export: Export) -> None:
    put(warehouse, tmp_path, export, [row(export), row(export, country_code="NA")])
    answers = asked(warehouse, export)
    assert set(answers) == {check.name for check in row_checks(export)}
    assert [name for name, answer in answers.items() if not answer.passed] == []


def test_every_promise_says_what_holds_how_bad_it_is_and_what_to_do() -> None:
    for export in EXPORTS:
        names = [check.name for check in row_checks(export)]
        assert len(names) == len(set(names))
        for check in row_checks(export):
            assert check.rule.endswith(".")
            assert check.remedy.endswith(".")
            assert not (check.blocking and check.severity == "warn"), "a warning blocks nothing"
            assert ("nothing downstream is built" in check.description) == check.blocking
    blocking = {check.name for export in EXPORTS for check in row_checks(export) if check.blocking}
    assert blocking == {"primary_key_unique", "rows_as_delivered", "fees_add_up", "listeners_add_up", "streams_add_up"}


# Each by values that a delivery may have without being refused.
BREAKING: list[tuple[Export, Row, str]] = [
    (CAMPAIGN_COUNTRY_DAILY, {"fees": 10.65}, "fees_add_up"),
    (CAMPAIGN_COUNTRY_DAILY, {"fees": 10.632, "currency": "KWD"}, "fees_add_up"),
    (CAMPAIGN_COUNTRY_DAILY, {"fees": 12.64, "currency": "JPY"}, "fees_add_up"),
    (CAMPAIGN_COUNTRY_DAILY, {"fees": 10.65, "currency": "QQQ"}, "fees_add_up"),  # unknown: two decimals
    (CAMPAIGN_COUNTRY_DAILY, {"country_code": "T1"}, "known_countries"),
    (CAMPAIGN_ENGAGEMENT_DAILY, {"country_code": "XK"}, "known_countries"),
    (CAMPAIGN_COUNTRY_DAILY, {"cpl": 0.294}, "ratios_agree"),
    (CAMPAIGN_COUNTRY_DAILY, {"ctr_linkclick": 0.0186}, "ratios_agree"),
    (CAMPAIGN_COUNTRY_DAILY, {"followers": 0}, "ratios_agree"),  # then cpf is 0
    (CAMPAIGN_COUNTRY_DAILY, {"cpc_linkclick": None}, "ratios_agree"),
    (CAMPAIGN_COUNTRY_DAILY, {"link_clicks": 0, "ctr_linkclick": 0}, "ratios_agree"),  # then cpc is null
    (CAMPAIGN_COUNTRY_DAILY, {"campaign_target_playlist_id": PLAYLIST}, "target_ids_match"),
    (CAMPAIGN_COUNTRY_DAILY, {"campaign_target_spotify_track_id": None}, "target_ids_match"),
    (CAMPAIGN_COUNTRY_DAILY, {"campaign_target_type": None}, "target_ids_match"),
    (CAMPAIGN_COUNTRY_DAILY, {"campaign_target_type": "playlist"}, "target_ids_match"),
    (CAMPAIGN_COUNTRY_DAILY, {"country_code": "DE", "saves": 3}, "no_unknown_fields"),
    (CAMPAIGN_ENGAGEMENT_DAILY, {"listeners": 61, "spl": 1.46}, "listeners_add_up"),
    (CAMPAIGN_ENGAGEMENT_DAILY, {"streams": 90, "spl": 1.5}, "streams_add_up"),
    (CAMPAIGN_ENGAGEMENT_DAILY, {"spl": 1.49}, "ratios_agree"),
    (CAMPAIGN_ENGAGEMENT_DAILY, {"engaged_spotify_track_id": ""}, "primary_key_unique"),
]
ALLOWED: list[Row] = [
    {"cpl": 0.29},  # rounded to two decimals
    {"cpl": 0.2931},
    {"fees": 10.62},  # rounded for itself
    {"fees": 12, "spend_media": 42, "spend_total": 53, "currency": "JPY", "cpl": 0.29, "cpf": 3.5}
    | {"cpc_linkclick": 0.472},
    {"fees": 10.631, "currency": "KWD"},
    {"listeners": 0, "streams_per_listener": 0, "cpl": 0},
    {"impressions": None, "ctr_linkclick": None, "ctr_adclick": None},
    {"link_clicks": 0, "cpc_linkclick": None, "ctr_linkclick": 0},
    {"campaign_target_isrc": None},
    {
        "campaign_target_type": "playlist",
        "campaign_target_isrc": None,
        "campaign_target_spotify_track_id": None,
        "campaign_target_playlist_id": PLAYLIST,
    },
]


def day_of(case: int) -> DateRange:
    """A day of its own for each of the cases, which then need one warehouse only."""
    day = APRIL.start + timedelta(days=case)
    return DateRange(day, day)


@pytest.fixture(scope="module")
def all_cases(tmp_path_factory: pytest.TempPathFactory) -> NativeFile:
    folder = tmp_path_factory.mktemp("cases")
    cases = [(export, [{"country_code": "NO"}, changes]) for export, changes, _ in BREAKING]
    cases += [(CAMPAIGN_COUNTRY_DAILY, [changes]) for changes in ALLOWED]
    arrivals = []
    for number, (export, lines) in enumerate(cases):
        dates = day_of(number)
        rows = [row(export, report_date=str(dates.start), **changes) for changes in lines]
        arrivals.append(arrival(folder, rows, export=export, dates=dates))
    warehouse = NativeFile(folder / "data", wait_seconds=0)
    assert load(warehouse, *arrivals).rejected == []
    return warehouse


@pytest.mark.parametrize("case", range(len(BREAKING)), ids=lambda case: f"{case}-{BREAKING[case][2]}")
def test_a_row_that_breaks_a_promise_is_told(all_cases: NativeFile, case: int) -> None:
    export, _, promise = BREAKING[case]
    answers = asked(all_cases, export, day_of(case))  # on other days others are broken
    assert [name for name, answer in answers.items() if not answer.passed] == [promise]
    answer = answers[promise]
    assert answer.bad_rows == 1
    assert len(answer.rows) == 1
    assert str(answer).startswith(f"1 {answer.check.unit} breaks the rule: ")


@pytest.mark.parametrize("case", range(len(ALLOWED)))
def test_what_the_documentation_allows_breaks_no_promise(all_cases: NativeFile, case: int) -> None:
    assert broken(all_cases, CAMPAIGN_COUNTRY_DAILY, day_of(len(BREAKING) + case)) == set()


def test_a_key_that_stands_twice_and_a_row_that_is_lost_are_told(warehouse: NativeFile, tmp_path: Path) -> None:
    export = CAMPAIGN_COUNTRY_DAILY
    put(warehouse, tmp_path, export, [row(), row(country_code="DE"), row(country_code="FR")], declared=3)
    assert broken(warehouse, export) == set()
    with warehouse.write() as connection:  # somebody's hand: a load could not
        connection.execute(f"insert into {export.name} from {export.name} where country_code = 'DE'")
    answers = asked(warehouse, export)
    assert {name for name, answer in answers.items() if not answer.passed} == {
        "primary_key_unique",
        "rows_as_delivered",
    }
    assert "DE" in answers["primary_key_unique"].rows[0]
    with warehouse.write() as connection:
        connection.execute(f"delete from {export.name} where country_code <> 'US'")
    answers = asked(warehouse, export)
    assert {name for name, answer in answers.items() if not answer.passed} == {"rows_as_delivered"}
    cells = only_row(answers["rows_as_delivered"])
    assert (cells["declared_rows"], cells["loaded"], cells["in_the_table"]) == (3, 3, 1)


def test_rows_are_counted_of_the_newest_delivery_only_in_whatever_order_they_were_loaded(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    export, later = CAMPAIGN_COUNTRY_DAILY, NOON + timedelta(days=1)
    exported: list[dict[str, Any]] = [{"exported_at": f"2026-05-2{day}T03:00:00Z"} for day in (0, 1, 2)]
    codes: list[dict[str, Any]] = [{"country_code": code} for code in ("US", "DE", "FR")]
    put(warehouse, tmp_path, export, [row(**exported[1], **code) for code in codes], pulled=later)
    put(warehouse, tmp_path, export, [row(**exported[0], **code) for code in codes], pulled=NOON)
    assert broken(warehouse, export) == set()
    # A newer one of part of the days, with one key less and one line older than what is known.
    put(
        warehouse,
        tmp_path,
        export,
        [row(**exported[2], **codes[0]), row(**exported[0], **codes[1])],
        pulled=later + timedelta(hours=1),
        dates=DateRange(DAY.start, DAY.start),
    )
    # It vanished, from a day that was final.
    assert broken(warehouse, export) == {"no_vanished_keys", "no_rows_gone", "settled_values_final"}


def test_a_value_that_changes_once_it_is_final_breaks_the_vendors_promise_and_one_before_does_not(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    export = CAMPAIGN_COUNTRY_DAILY
    settles = datetime(2026, 4, 9, tzinfo=UTC)
    pulls = [settles - timedelta(days=3), settles - timedelta(seconds=1), settles]
    for number, pulled in enumerate(pulls):
        put(warehouse, tmp_path, export, [row(streams=203 + number, streams_per_listener=1.4)], pulled=pulled)
    assert "settled_values_final" not in broken(warehouse, export)
    put(
        warehouse,
        tmp_path,
        export,
        [row(streams=206, streams_per_listener=1.42, exported_at="2026-05-21T03:00:00Z")],
        pulled=settles + timedelta(days=2),
    )
    answer = asked(warehouse, export)["settled_values_final"]
    assert answer.bad_rows == 1
    assert answer.check.severity == "error"
    cells = only_row(answer)
    assert (cells["streams_before"], cells["streams_now"]) == (205, 206)
    assert cells["final_since"].date() == date(2026, 4, 9)


def test_a_key_that_a_newer_delivery_lacks_is_a_warning_until_it_comes_back(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    export, both = CAMPAIGN_COUNTRY_DAILY, [row(), row(country_code="NA")]
    put(warehouse, tmp_path, export, both, pulled=NOON)
    put(warehouse, tmp_path, export, both[:1], pulled=NOON + timedelta(days=1))
    answer = asked(warehouse, export)["no_vanished_keys"]
    assert (answer.bad_rows, answer.check.severity) == (1, "warn")
    assert '"country_code":"NA"' in only_row(answer)["key"]
    put(warehouse, tmp_path, export, both, pulled=NOON + timedelta(days=2))
    # Of a day that was final already that it vanished stays a broken promise.
    assert broken(warehouse, export) == {"settled_values_final"}


@pytest.mark.parametrize("final", [True, False])
def test_a_key_that_vanishes_from_a_settled_day_breaks_the_vendors_promise(
    warehouse: NativeFile, tmp_path: Path, final: bool
) -> None:
    export, settles = CAMPAIGN_COUNTRY_DAILY, datetime(2026, 4, 9, tzinfo=UTC)
    seen = settles if final else settles - timedelta(seconds=1)
    put(warehouse, tmp_path, export, [row(), row(country_code="NA")], pulled=settles - timedelta(days=1))
    put(warehouse, tmp_path, export, [row(), row(country_code="NA")], pulled=seen)
    put(warehouse, tmp_path, export, [row()], pulled=settles + timedelta(days=2))
    assert broken(warehouse, export) == {
        "no_vanished_keys",
        "no_rows_gone",
        *(["settled_values_final"] if final else []),
    }
    if final:
        cells = only_row(asked(warehouse, export)["settled_values_final"])
        assert (cells["country_code"], cells["streams_before"], cells["streams_now"]) == ("NA", 203, None)
        assert cells["final_since"].date() == date(2026, 4, 9)


def test_how_many_rows_went_is_told_per_day_until_they_come_back(warehouse: NativeFile, tmp_path: Path) -> None:
    export, first, second = CAMPAIGN_COUNTRY_DAILY, "2026-04-01", "2026-04-02"
    all_of_both = [row(report_date=day, country_code=code) for day in (first, second) for code in ("DE", "FR", "NA")]
    put(warehouse, tmp_path, export, all_of_both, pulled=NOON)
    put(warehouse, tmp_path, export, [row(report_date=second, country_code="DE")], pulled=NOON + timedelta(hours=1))
    answer = asked(warehouse, export)["no_rows_gone"]
    assert (answer.check.severity, answer.counts) == ("warn", "2 days")
    cells = [dict(zip(answer.columns, values, strict=True)) for values in answer.rows]
    assert [(str(cell["report_date"]), cell["rows_gone"], cell["campaigns"]) for cell in cells] == [
        ("2026-04-01", 3, 1),
        ("2026-04-02", 2, 1),
    ]
    assert {cell["last_gone_at"] for cell in cells} == {(NOON + timedelta(hours=1)).replace(tzinfo=None)}
    put(
        warehouse,
        tmp_path,
        export,
        all_of_both[:3],
        pulled=NOON + timedelta(hours=2),
        dates=DateRange(*[DAY.start] * 2),
    )
    assert only_row(asked(warehouse, export)["no_rows_gone"])["rows_gone"] == 2
    put(warehouse, tmp_path, export, all_of_both, pulled=NOON + timedelta(hours=3))
    assert "no_rows_gone" not in broken(warehouse, export)


def test_unknown_fields_are_told_until_a_delivery_comes_without(warehouse: NativeFile, tmp_path: Path) -> None:
    export = CAMPAIGN_COUNTRY_DAILY
    put(warehouse, tmp_path, export, [row(saves=3)], pulled=NOON)
    assert only_row(asked(warehouse, export)["no_unknown_fields"])["unknown_fields"] == "saves"
    put(warehouse, tmp_path, export, [row()], pulled=NOON + timedelta(days=1))
    assert broken(warehouse, export) == set()


def test_codes_of_no_country_are_listed_and_a_warning(warehouse: NativeFile, tmp_path: Path) -> None:
    export = CAMPAIGN_COUNTRY_DAILY
    rows = [row(country_code=code) for code in ("A1", "NA", "T1")]
    put(warehouse, tmp_path, export, [*rows, row(country_code="T1", report_date="2026-04-08")])
    answer = asked(warehouse, export)["known_countries"]
    assert (answer.check.severity, answer.counts) == ("warn", "2 codes")
    assert [tuple(map(str, line)) for line in answer.rows] == [
        ("A1", "1", "2026-04-01", "2026-04-01"),
        ("T1", "2", "2026-04-01", "2026-04-08"),
    ]


@pytest.mark.parametrize(
    ("usual", "today", "weeks", "told"),
    [
        (40, 19, 4, True),
        (40, 20, 4, False),
        (40, 80, 4, False),
        (40, 81, 4, True),
        (40, 0, 4, True),
        (40, 3, 2, False),  # too few weeks to tell
        (19, 3, 4, False),  # too few rows
    ],
)
def test_a_day_of_unusual_volume_is_a_warning(
    warehouse: NativeFile, tmp_path: Path, usual: int, today: int, weeks: int, told: bool
) -> None:
    export, last = CAMPAIGN_COUNTRY_DAILY, date(2026, 4, 30)

    def day(report_date: date, count: int) -> list[Row]:
        codes = (chr(65 + number // 26) + chr(65 + number % 26) for number in range(count))
        return [row(report_date=str(report_date), country_code=code) for code in codes]

    rows = [item for week in range(1, weeks + 1) for item in day(last - timedelta(weeks=week), usual)]
    rows += day(last - timedelta(days=1), 100)  # another weekday tells nothing
    put(warehouse, tmp_path, export, rows + day(last, today))
    answer = asked(warehouse, export, DateRange(last, last))["usual_volume"]
    assert answer.passed is not told
    if told:
        cells = only_row(answer)
        assert (cells["report_date"], cells["usual_rows"]) == (last, usual)


def test_many_bad_rows_are_counted_and_the_first_of_them_shown(warehouse: NativeFile, tmp_path: Path) -> None:
    codes = [f"A{letter}" for letter in "ABCDEFGHI"]
    put(warehouse, tmp_path, CAMPAIGN_COUNTRY_DAILY, [row(country_code=code, fees=9) for code in reversed(codes)])
    answer = asked(warehouse, CAMPAIGN_COUNTRY_DAILY)["fees_add_up"]
    assert answer.bad_rows == 9
    assert str(answer).startswith("9 rows break the rule: spend_total")
    assert [row[answer.columns.index("country_code")] for row in answer.rows] == codes[:5]


@pytest.mark.parametrize("export", CAMPAIGN_EXPORTS, ids=lambda export: export.name)
@pytest.mark.parametrize("first", [[], [row(country_code="NA")]], ids=["was empty", "had rows"])
def test_a_row_of_a_day_that_was_final_without_it_is_named_by_the_run_that_found_it(
    warehouse: NativeFile, tmp_path: Path, export: Export, first: list[Row]
) -> None:
    documented = row(export)
    day = date.fromisoformat(documented["report_date"])
    dates = DateRange(day - timedelta(days=40), day + timedelta(days=40))
    held = [row(export, country_code="NA")] if first else []
    final, later = NOON + timedelta(days=10), NOON + timedelta(days=31)
    put(warehouse, tmp_path, export, held, dates=dates, pulled=final)
    put(warehouse, tmp_path, export, [documented, *held], dates=dates, pulled=later)
    # The window of the run that found it, weeks after the day; and a day later it is still within it.
    for days_later in (0, 1):
        end = later.date() + timedelta(days=days_later - 1)
        answer = asked(warehouse, export, DateRange(end - timedelta(days=7), end))["no_late_rows"]
        found = only_row(answer)
        assert (found["country_code"], found["report_date"]) == ("US", day)
        assert (found["final_since"], found["came_at"]) == (final.replace(tzinfo=None), later.replace(tzinfo=None))
        assert (answer.check.severity, answer.check.blocking) == ("warn", False)
    after = DateRange(later.date() + timedelta(days=1), later.date() + timedelta(days=8))
    assert "no_late_rows" not in broken(warehouse, export, after)


def test_a_row_that_came_with_the_first_final_pull_or_changed_since_is_not_late(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    export = CAMPAIGN_COUNTRY_DAILY
    day = date.fromisoformat(row()["report_date"])
    final = datetime.combine(day, NOON.timetz()) + timedelta(days=8)
    put(warehouse, tmp_path, export, [], dates=DAY, pulled=final - timedelta(days=1))
    put(warehouse, tmp_path, export, [row()], dates=DAY, pulled=final)
    put(warehouse, tmp_path, export, [row(streams=1)], dates=DAY, pulled=final + timedelta(days=3))
    window = DateRange(DAY.start, DAY.end)
    assert "no_late_rows" not in broken(warehouse, export, window)
    assert "settled_values_final" in broken(warehouse, export, window)


def test_what_a_probe_changes_on_days_before_the_window_is_found_while_its_pull_is_within(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    export, day = CAMPAIGN_COUNTRY_DAILY, DateRange(DAY.start, DAY.start)
    final = datetime(2026, 4, 20, tzinfo=UTC)
    probed = final + timedelta(days=30)
    put(warehouse, tmp_path, export, [row(), row(country_code="NA")], pulled=final)
    put(warehouse, tmp_path, export, [row(streams=204)], pulled=probed)
    window = DateRange(date(2026, 5, 12), date(2026, 5, 19))  # of the refresh that probes, on May 20
    later = DateRange(date(2026, 5, 25), date(2026, 6, 1))
    far = DateRange(date(2026, 8, 1), date(2026, 8, 8))
    found = {}
    for name, dates in (("day", day), ("window", window), ("later", later), ("far", far)):
        with warehouse.read() as connection:
            found[name] = {result.check.name for result in run_checks(connection, export, dates) if not result.passed}
    expected = {"settled_values_final", "no_vanished_keys", "no_rows_gone"}
    assert expected <= found["day"]
    assert expected <= found["window"]
    assert found["later"] == found["far"] == set()


def test_rows_of_a_settled_day_that_get_other_keys_break_the_promise_and_are_not_late(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    export, final = CAMPAIGN_COUNTRY_DAILY, datetime(2026, 4, 20, tzinfo=UTC)
    codes = ("DE", "NA")
    put(warehouse, tmp_path, export, [row(country_code=code) for code in codes], pulled=final)
    moved = [row(country_code=code, account_id="another") for code in codes]
    put(warehouse, tmp_path, export, moved, pulled=final + timedelta(days=1), run_id="moves")
    assert broken(warehouse, export, run_id="moves") == {"settled_values_final", "no_vanished_keys", "no_rows_gone"}
    put(warehouse, tmp_path, export, [*moved, row(account_id="another")], pulled=final + timedelta(days=2))
    assert "no_late_rows" in broken(warehouse, export)


@pytest.mark.parametrize("export", [EXPORTS[0], EXPORTS[3]], ids=lambda export: export.name)
def test_a_move_to_another_organization_is_told_in_its_run_and_is_no_fault_of_the_data_afterwards(
    warehouse: NativeFile, tmp_path: Path, export: Export
) -> None:
    final, day, codes = datetime(2026, 4, 20, tzinfo=UTC), timedelta(days=1), ("DE", "NA")
    put(warehouse, tmp_path, export, [row(export, country_code=code) for code in codes], pulled=final)
    moved = [row(export, country_code=code, account_id="another") for code in codes]
    put(warehouse, tmp_path, export, moved, pulled=final + day, run_id="moves")
    told = {"settled_values_final", "no_vanished_keys", "no_rows_gone"}
    assert broken(warehouse, export, run_id="moves") == told
    put(warehouse, tmp_path, export, moved, pulled=final + 2 * day, run_id="later")
    assert broken(warehouse, export, run_id="later") == broken(warehouse, export) == set()
    again = [row(export, country_code=code, account_id="a third") for code in codes]
    put(warehouse, tmp_path, export, again, pulled=final + 3 * day, run_id="moves again")
    assert asked(warehouse, export, run_id="moves again")["no_vanished_keys"].bad_rows == 2
    assert broken(warehouse, export) == set()


def test_what_is_lost_or_changed_with_a_move_stays_a_fault(warehouse: NativeFile, tmp_path: Path) -> None:
    export, final = CAMPAIGN_COUNTRY_DAILY, datetime(2026, 4, 20, tzinfo=UTC)
    put(warehouse, tmp_path, export, [row(country_code=code) for code in ("DE", "NA", "US")], pulled=final)
    moved = [
        row(country_code="DE", account_id="another"),
        row(country_code="US", account_id="another", impressions=9000),
    ]
    put(warehouse, tmp_path, export, moved, pulled=final + timedelta(days=1))
    answers = asked(warehouse, export)
    assert '"country_code":"NA"' in only_row(answers["no_vanished_keys"])["key"]
    assert only_row(answers["no_rows_gone"])["rows_gone"] == 1
    final_ones = answers["settled_values_final"]
    assert sorted(cells[final_ones.columns.index("country_code")] for cells in final_ones.rows) == ["NA", "US"]


# Days that a run has loaded outside its range


WEEKS_LATER = DateRange(date(2026, 6, 1), date(2026, 6, 8))
PROBED = DateRange(date(2026, 3, 12), date(2026, 5, 31))


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
        ({"fees": 10.65}, "fees_add_up"),
        ({"country_code": "T1"}, "known_countries"),
        ({"cpl": 0.294}, "ratios_agree"),
        ({"campaign_target_type": None}, "target_ids_match"),
        ({"saves": 3}, "no_unknown_fields"),
    ],
)
def test_a_row_that_a_probe_brought_is_checked_in_its_run_and_its_neighbours_are_not(
    warehouse: NativeFile, tmp_path: Path, changes: Row, promise: str
) -> None:
    # As bad, but of another day, and loaded long before.
    put(warehouse, tmp_path / "a", EXPORTS[0], [row(report_date="2026-04-03", **changes)], run_id="before")
    pulled = datetime(2026, 6, 9, 7, tzinfo=UTC)
    rows = [row(campaign_id="c2", **changes)]
    put(warehouse, tmp_path / "b", EXPORTS[0], rows, dates=PROBED, pulled=pulled, run_id="probe", campaign="c2")
    assert promise not in broken(warehouse, EXPORTS[0], WEEKS_LATER)
    answer = asked(warehouse, EXPORTS[0], WEEKS_LATER, "probe")[promise]
    assert (answer.bad_rows, len(answer.rows)) == (1, 1)
    assert asked(warehouse, EXPORTS[0], WEEKS_LATER, "before")[promise].bad_rows == 1


def test_a_key_that_stands_twice_on_a_day_that_a_probe_loaded_is_told(warehouse: NativeFile, tmp_path: Path) -> None:
    export = CAMPAIGN_COUNTRY_DAILY
    pulled = datetime(2026, 6, 9, 7, tzinfo=UTC)
    put(warehouse, tmp_path, export, [row()], dates=PROBED, pulled=pulled, run_id="probe")
    assert broken(warehouse, export, WEEKS_LATER, "probe") == set()
    with warehouse.write() as connection:
        connection.execute(f"insert into {export.name} from {export.name}")
    assert broken(warehouse, export, WEEKS_LATER, "probe") == {"primary_key_unique", "rows_as_delivered"}


def test_what_an_interrupted_run_left_is_checked_by_the_run_that_loads_it(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    # Landed on 20 April, loaded by a run of June: a row of a day that was final without it, and one that is gone.
    export = CAMPAIGN_COUNTRY_DAILY
    final, left = datetime(2026, 4, 19, tzinfo=UTC), datetime(2026, 4, 20, tzinfo=UTC)
    put(warehouse, tmp_path / "a", export, [row(country_code="NA")], dates=DAY, pulled=final, run_id="first")
    put(warehouse, tmp_path / "b", export, [row()], dates=DAY, pulled=left, run_id="left")
    assert broken(warehouse, export, WEEKS_LATER) == set()
    found = {"no_vanished_keys", "no_rows_gone", "settled_values_final"}
    assert broken(warehouse, export, WEEKS_LATER, "left") == found


def test_days_that_a_delivery_covers_and_has_not_changed_are_not_looked_at(
    warehouse: NativeFile, tmp_path: Path
) -> None:
    export, pulled = CAMPAIGN_COUNTRY_DAILY, datetime(2026, 6, 9, 7, tzinfo=UTC)
    put(warehouse, tmp_path / "a", export, [row(), row(country_code="DE")], dates=DAY, pulled=NOON)
    put(warehouse, tmp_path / "b", export, [row()], dates=PROBED, pulled=pulled, run_id="probe")
    put(warehouse, tmp_path / "c", export, [], dates=PROBED, pulled=pulled, run_id="empty", campaign="c2")
    with warehouse.read() as connection:
        days = {
            name: checked_days(connection, export, WEEKS_LATER, Ledger(connection).delivered_by([name])).days
            for name in ("probe", "empty", "none")
        }
    own = tuple(WEEKS_LATER.dates())
    assert days == {"probe": (date.fromisoformat(row()["report_date"]), *own), "empty": own, "none": own}
