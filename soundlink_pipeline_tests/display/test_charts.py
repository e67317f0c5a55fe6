"""The small charts: what they tell apart, that they are small, and that they stand alone."""

import base64
import re
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from soundlink_pipeline.display.charts import NARROW, data_uri, days_chart, filling_chart, markdown_image, short_day
from soundlink_pipeline.display.svg import number, scale

SVG = "{http://www.w3.org/2000/svg}"
MEASURES = {"spend_total": "Spend per day (UTC), USD", "streams": "Streams per day (UTC)"}


def days(count: int, provisional: int = 0) -> pd.DataFrame:
    """Days from 1 January 2026 on, the newest of them provisional."""
    return pd.DataFrame(
        {
            "report_date": pd.date_range("2026-01-01", periods=count),
            "spend_total": [float(100 + day % 7) for day in range(count)],
            "streams": [1000 + day for day in range(count)],
            "is_settled": [day < count - provisional for day in range(count)],
        }
    )


def texts(svg: bytes) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def bars(svg: bytes) -> tuple[int, int]:
    """How many groups of bars are solid, and how many hatched."""
    fills = [path.get("fill", "") for path in ET.fromstring(svg).iter(f"{SVG}path") if path.get("class")]
    return sum(fill.startswith("var(") for fill in fills), sum(fill.startswith("url(#") for fill in fills)


def test_sixty_days_of_two_measures_are_small_and_say_what_they_are() -> None:
    svg = days_chart(days(100, provisional=7), MEASURES)
    assert len(data_uri(svg)) < 30_000
    assert {"final", "provisional", *MEASURES.values()} <= set(texts(svg))
    assert not any(text.startswith("1 Jan") for text in texts(svg))  # 60 days, not 100
    assert any(text.endswith(" Mar") for text in texts(svg))


def test_final_days_are_solid_and_provisional_days_hatched() -> None:
    solid, hatched = bars(days_chart(days(20, provisional=3), {"streams": "Streams"}))
    assert solid
    assert hatched
    assert bars(days_chart(days(20), {"streams": "Streams"}))[1] == 0


def test_a_day_is_final_only_when_all_its_rows_are() -> None:
    two = pd.concat([days(5), days(5, provisional=5)])
    assert bars(days_chart(two, {"streams": "Streams"}))[0] == 0


def test_equal_days_make_equal_bytes_in_any_order() -> None:
    shuffled = days(30, provisional=2).sample(frac=1, random_state=1)
    assert days_chart(shuffled, MEASURES) == days_chart(days(30, provisional=2), MEASURES)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_days_make_a_picture_too(count: int) -> None:
    svg = days_chart(days(count), MEASURES)
    assert ("no days yet" in texts(svg)) == (count == 0)


@pytest.mark.parametrize(
    "values",
    [
        [0.0],
        [7.0],
        [-3.0, 5.0],
        [-2.5e-7, 1e-9],
        [5e-324, 0.0],
        [1e308, -1e308],
        [1.0, 2.0, 3e15],
        [0.1 + 0.2, 0.3],
        [12_345_678.9],
    ],
)
@pytest.mark.parametrize("from_zero", [True, False])
def test_numbers_of_an_axis_are_few_round_and_hold_every_value(values: list[float], from_zero: bool) -> None:
    axis = scale(values, from_zero=from_zero)
    assert axis.low <= min(values) <= max(values) <= axis.high
    assert axis.low < axis.high
    assert list(axis.ticks) == sorted({*axis.ticks})
    assert 1 <= len(axis.ticks) <= 6
    assert all(len(number(tick)) <= len("-1,234,567.5") for tick in axis.ticks if 1e-6 < abs(tick) < 1e7)


def test_each_bar_stands_on_zero_and_is_as_high_as_its_value() -> None:
    shown = days(4).assign(streams=[10, 0, -5, float("inf")])
    (path,) = [
        path.get("d", "")
        for path in ET.fromstring(days_chart(shown, {"streams": "Streams"})).iter(f"{SVG}path")
        if path.get("class") == "final"
    ]
    ends = [(float(ground), float(top)) for ground, top in re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", path)]
    (ground,) = {ground for ground, _ in ends}
    ten, none, minus_five = (ground - top for _, top in ends)  # what is no number has no bar
    assert none == 0
    assert ten > 50
    assert minus_five == pytest.approx(-ten / 2, abs=0.1)


def test_missing_days_zeros_and_missing_values_make_a_picture_too() -> None:
    gaps = days(30).drop(index=range(5, 12)).assign(streams=0)
    gaps.loc[3, "spend_total"] = None
    assert "Streams per day (UTC)" in texts(days_chart(gaps, MEASURES))


def test_the_picture_has_light_and_dark_colours_and_refers_to_nothing_outside() -> None:
    svg = days_chart(days(30, provisional=2), MEASURES)
    assert b"prefers-color-scheme:dark" in svg
    for element in ET.fromstring(svg).iter():
        assert element.tag not in {f"{SVG}image", f"{SVG}script"}
        assert all(value.startswith("#") for name, value in element.items() if name.endswith("href"))


def test_filling_chart_has_a_line_per_measure() -> None:
    curve = pd.DataFrame(
        [(m, day, 0.1 / (day + 1)) for m in ("streams", "spend_total") for day in range(8)],
        columns=["measure", "days_after_close", "shortfall_share"],
    )
    shown = texts(filling_chart(curve, {"spend_total": "spend", "streams": "streams"}, width=NARROW))
    assert {"spend", "streams", "0", "7"} <= set(shown)


def test_markdown_image_holds_the_picture_and_its_words_cannot_break_out() -> None:
    image = markdown_image(b"<svg/>", "Spend](http://example.com) of <One>\nand [Two]")
    encoded = base64.b64encode(b"<svg/>").decode()
    assert image == f"![Spend (http://example.com) of One and Two](data:image/svg+xml;base64,{encoded})"


def test_days_are_named_alike_in_every_locale() -> None:
    assert short_day(pd.Timestamp(2026, 3, 9).date()) == "9 Mar"
