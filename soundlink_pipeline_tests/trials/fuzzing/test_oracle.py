"""The oracle, held to what can be told by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline_tests.trials.fuzzing.damage import Damaged
from soundlink_pipeline_tests.trials.fuzzing.test_damaged import LINE

BREAKDOWN, ENGAGEMENT = CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY


@pytest.mark.parametrize(
    ("old", "new", "kind", "why"),
    [
        (b"", b"", "loaded", ""),
        (b"203", b"-0", "loaded", ""),
        (b"203", b'"203"', "refused", "integer that is none"),
        (b"203", b"203.5", "refused", "no count"),
        (b"203", b"9223372036854775808", "refused", "no count"),
        (b"203", b"203.0", "either", "count with a fraction or exponent"),
        (b"42.50", b"1e12", "refused", "no amount below 10^12"),
        (b"42.50", b"NaN", "refused", "not JSON"),
        (b"Sleep", b"\xed\xa0\x80", "refused", "not UTF-8"),
        (b"Sleep", b"\\ud83c", "refused", "no Unicode"),
        (b"Sleep", b"\\u0000", "loaded", ""),
        (b'"US"', b'"us"', "refused", "no country"),
        (b'"streams"', b'"STREAMS"', "refused", "no integer"),
        (b'"streams"', b'"\\u0073treams"', "loaded", ""),
        (b'"streams"', b'"streams":1,"streams"', "refused", "a field is there twice"),
        (b"2026-01-10", b"2026-02-21", "refused", "a day that was not asked for"),
        (b"T03:00:00Z", b"T03:00:00", "either", "another ISO 8601 form"),
        (b"T03:00:00Z", b"T25:00:00Z", "refused", "no timestamp"),
        (b"\n", b"\r\n \n", "loaded", ""),
        (b"\n", b"\n\x0b\n", "either", "blank line of other blanks"),
        (b"\n", b"\x0b\n", "refused", "not JSON"),
    ],
)
def test_the_oracle_says_what_can_be_told_by_hand(old: bytes, new: bytes, kind: str, why: str) -> None:
    said = Damaged(0, BREAKDOWN, "camp", (), LINE.replace(old, new, 1), None).verdict
    assert (said.kind, why) == (kind, why and (said.why or next(iter(said.open))))


def test_the_oracle_says_the_values_that_can_be_told_by_hand() -> None:
    data = LINE.replace(b"42.50", b"0.1234565").replace(b"T03:00:00Z", b"T03:00:00.000001+02:00")
    first, second = data, data.replace(b'"streams":203', b'"streams":7')
    said = Damaged(0, BREAKDOWN, "camp", (), first + second, 2).verdict
    assert said.rows is not None
    ((key, cells),) = said.rows.items()
    row = dict(zip(BREAKDOWN.column_names, cells, strict=True))
    assert key == ("soundlink", row["account_id"], date(2026, 1, 10), row["campaign_id"], "US")
    assert (row["streams"], row["spend_media"], row["cpl"]) == (7, Decimal("0.123457"), 0.293)
    assert row["exported_at"] == 1_779_238_800_000_001  # 2026-05-20 01:00 UTC and a millionth of a second
    assert (said.delivered, row["campaign_target_playlist_id"]) == (2, None)
