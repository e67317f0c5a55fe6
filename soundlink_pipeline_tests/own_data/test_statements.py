"""A distributor's statement becomes rows that models can sum, or none of it does."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from soundlink_pipeline.own_data.loading import OwnFile
from soundlink_pipeline_tests.own_data.conftest import Own

HEADER = "isrc,store,sale_month,country_code,streams,revenue,currency\n"
LINE = "DEXW62500259,Spotify,2026-08,US,4000,12.00,USD\n"
TABLE = "distributor_statements"


def test_a_statement_is_read_with_types_of_its_own(own: Own) -> None:
    own.put(
        f"{TABLE}.csv",
        HEADER + "de-xw6-25-00259,Apple Music,2026-08-31,NA,-4000,0.003141592653589793,usd\n" + LINE,
    )
    own.load()
    track, month = "DEXW62500259", date(2026, 8, 1)
    assert own.rows(f"from {TABLE} order by row") == [
        (f"{TABLE}.csv", 1, track, "Apple Music", month, "NA", -4000, Decimal("0.003141592653589793"), "USD"),
        (f"{TABLE}.csv", 2, track, "Spotify", month, "US", 4000, Decimal(12), "USD"),
    ]
    assert own.rows("from distributor_monthly") == [(track, month, "US", 4000, Decimal(12), "USD")]
    assert own.rows(f"select isrc, sale_month from own.{TABLE}")[0] == ("de-xw6-25-00259", "2026-08-31")
    assert len(own.changed) == 1


def test_statements_of_several_files_stand_together_and_go_with_their_file(own: Own) -> None:
    own.put(f"{TABLE}_may.csv", HEADER.lower().replace(",", ";") + LINE.replace(",", ";"))
    own.folder.joinpath("other.csv").write_text("x\n1\n")
    query = f"select * from read_csv('{own.folder}/{TABLE}_may.csv')"
    own.connection.execute(f"copy ({query}) to '{own.folder}/{TABLE}_june.parquet' (format parquet)")
    own.load()
    count = f"select file, count(*), sum(revenue) from {TABLE} group by all order by all"
    both = [(f"{TABLE}_{name}", 1, Decimal(12)) for name in ("june.parquet", "may.csv")]
    assert own.rows(count) == both
    assert len(own.changed) == 2
    own.folder.joinpath("other.csv").unlink()
    own.load()
    assert len(own.changed) == 2, "it was no statement"
    own.folder.joinpath(f"{TABLE}_may.csv").unlink()
    own.load()
    assert own.rows(count) == both[:1]
    assert len(own.changed) == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (LINE.replace("4000", "4.000,5"), "line 3: it has 8 columns, and the first line names 7"),
        (LINE.replace("12.00", '"12,00"'), "row 2: revenue must be an amount with a decimal point, not '12,00'"),
        (LINE.replace("4000", "many"), "row 2: streams must be a whole number, not 'many'"),
        (LINE.replace("4000", "4000.5"), "row 2: streams must be a whole number, not '4000.5'"),
        (LINE.replace("2026-08", "08/2026"), "row 2: sale_month must be a month such as 2026-08, not '08/2026'"),
        (LINE.replace("2026-08", "0026-08"), "row 2: sale_month must be a month such as 2026-08, not '0026-08'"),
        (LINE.replace("2026-08", "2026-13"), "row 2: sale_month must be a month such as 2026-08, not '2026-13'"),
        (LINE.replace("USD", "US$"), "row 2: currency must be a currency of three letters, not 'US$'"),
        (LINE.replace("DEXW62500259", " "), "row 2: isrc must be an ISRC of 12 letters and digits, not ' '"),
        (LINE.replace("DEXW62500259", "40215"), "row 2: isrc must be an ISRC of 12 letters and digits, not '40215'"),
        (LINE.replace("US,", "USA,"), "row 2: country_code must be two letters such as US, or nothing, not 'USA'"),
        (LINE.replace("US,", "Japan,"), "row 2: country_code must be two letters such as US, or nothing, not 'Japan'"),
        (LINE.replace("2026-08", "2026-02-30"), "row 2: sale_month must be a month such as 2026-08, not '2026-02-30'"),
        (LINE.replace("12.00", ""), "row 2: revenue must be an amount with a decimal point, not nothing"),
        (LINE.replace("12.00", "1e12"), "with it all statements have over 10^11 of revenue or 10^15 streams, which"),
    ],
)
def test_a_statement_with_a_wrong_row_is_left_out_whole_and_the_last_one_stays(
    own: Own, line: str, reason: str
) -> None:
    own.put(f"{TABLE}.csv", HEADER + LINE)
    own.load()
    own.put(f"{TABLE}.csv", HEADER + LINE + line)
    (file,) = own.load()
    assert (file.file, file.table, file.rows) == (f"{TABLE}.csv", TABLE, 1)
    assert (file.problem or "").startswith(reason)
    for table in (TABLE, f"own.{TABLE}"):
        assert own.rows(f"select streams, revenue from {table}") == [(4000, 12)]
    assert len(own.changed) == 1 or "with it all" in reason


def test_blanks_in_an_isrc_and_around_names_and_values_are_no_part_of_them(own: Own) -> None:
    own.put(f"{TABLE}.csv", HEADER.replace(",", ", ") + "DE XW6 25 00259 , Spotify, 2026-08, , 4000, 12.00, USD\n")
    own.load()
    row = (f"{TABLE}.csv", 1, "DEXW62500259", "Spotify", date(2026, 8, 1), None, 4000, Decimal(12), "USD")
    assert own.rows(f"from {TABLE}") == [row]


def test_a_statement_that_lacks_a_column_says_which(own: Own) -> None:
    own.put(f"{TABLE}.csv", "isrc,store,month,country_code,streams,revenue,currency\n")
    assert own.problem().endswith("; it lacks sale_month")
    own.put(f"{TABLE}.csv", HEADER)
    assert own.load() == [OwnFile(f"{TABLE}.csv", TABLE, 0, None)]
