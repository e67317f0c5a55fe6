"""The report: one page that loads nothing, says what is final, and refuses with a sentence what it cannot do."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import pytest

from soundlink_pipeline.report.__main__ import main
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline_tests.support.report_database import (
    LOUD,
    LOUD_ID,
    QUIET,
    QUIET_ID,
    build,
    load_second_account,
    load_soundlinks,
    published_database,
    warehouse_with_rows,
)


class Page(HTMLParser):
    """A page taken apart: its tags with their attributes, and its text with spaces made one."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._texts: list[str] = []
        self._style = False
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._style = tag in {"style", "script"}

    def handle_data(self, data: str) -> None:
        if not self._style:
            self._texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._style = False


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published_database(tmp_path_factory.mktemp("published"))


def made(database: Path, output: Path, *arguments: str) -> Page:
    assert main(["--database", str(database), "--output", str(output), *arguments]) == 0
    return Page(output)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 1) -> str:
    """The one sentence that is said instead of making a page."""
    assert main(arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


@pytest.fixture(scope="module")
def page(database: Path) -> Page:
    return made(database, database.with_name("all.html"))


def test_page_loads_nothing(page: Page, database: Path) -> None:
    pictures = []
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert not {"href", "srcset", "background", "data"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
        if source := attributes.get("src"):
            assert tag == "img"
            assert attributes["alt"]
            pictures.append(source)
    assert len(pictures) == 4  # spend in two currencies, streams, how days fill up
    for picture in pictures:
        kind, encoded = picture.split(",")
        assert kind == "data:image/svg+xml;base64"
        ET.fromstring(base64.b64decode(encoded))
    html = database.with_name("all.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?:", html)
    assert "default-src 'none'" in html


def test_the_one_script_sorts_and_is_the_only_one_that_may_run(page: Page, database: Path) -> None:
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
    html = database.with_name("all.html").read_text(encoding="utf-8")
    script = html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (of["content"] for tag, of in page.tags if "http-equiv" in of)
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    for reaching in ("fetch", "XMLHttp", "import", "eval", "innerHTML", "location", "cookie", "Storage"):
        assert reaching not in script


def test_names_are_text_and_nothing_else(page: Page) -> None:
    assert " ".join(LOUD.split()) in page.text
    assert "Promoted <i>Song</i>" in page.text
    plain = {tag for tag, attributes in page.tags if not {"class", "style"} & attributes.keys()}
    assert not {"b", "i"} & plain


def test_page_says_what_is_final_and_what_provisional(page: Page) -> None:
    assert "6 of 20 days are provisional (15 Apr 2026 to 20 Apr 2026)" in page.text
    # 2 campaigns x 20 days x 80 streams, 14 of the days settled; 2 tracks with 5 new listeners a day in each
    assert "All currencies 3,200 of it final: 2,240" in page.text
    assert "New listeners 35 so far \u2192 unchanged against 35 provisional, of it final: 5" in page.text
    assert "70 % final" in page.text.replace("\u00a0", " ")
    assert "14 final 6 provisional 0 incomplete" in page.text


def test_money_stands_in_its_currency_and_currencies_are_not_added_up(page: Page) -> None:
    for currency in ("USD", "EUR"):
        assert f"24,690.00 {currency} of it final: 17,283.00 {currency}" in page.text
    assert "49,380" not in page.text


def test_shares_are_of_the_same_currency(page: Page) -> None:
    text = page.text.replace("\u00a0", " ")
    assert text.count("United States 70 % final 1,200 75.0 % 100.0 %") == 2
    assert text.count("Namibia 70 % final 400 25.0 % 0.0 %") == 2


def test_promoted_track_stands_against_the_others(page: Page) -> None:
    text = page.text.replace("\u00a0", " ")
    assert "Promoted tracks 70 % final 1,600 25.0 %" in text
    assert "Other tracks 70 % final 1,600 25.0 %" in text
    assert "Tracks in the promoted playlist 70 % final 3,200 50.0 %" in text


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse, with soundlinks beside the campaigns."""
    warehouse = warehouse_with_rows(tmp_path_factory.mktemp("links"))
    load_soundlinks(warehouse)
    build(warehouse)
    return warehouse.path


def test_soundlinks_stand_in_a_table_of_their_own_and_in_no_other_sum(links: Path, page: Page) -> None:
    text = made(links, links.with_name("all.html")).text.replace("\u00a0", " ")
    assert "All campaigns and soundlinks" in text
    assert "Soundlink Views Clicks Streams Listener-days Followers Status" in text
    # 20 days of 10 views, 4 clicks, 8 streams, 4 listeners and 1 follower, 14 of them settled; and 10 days, all settled
    assert "Link <b>One</b> archived 70 % final 200 80 160 80 20 70 % final" in text
    assert "Link Two final 50 n/a 80 40 10 final" in text
    for sums in ("All currencies 3,200 of it final: 2,240", "New listeners 35 so far"):
        assert sums in text
    assert "Listener-days" not in page.text, "of an account without soundlinks"


def test_a_report_of_one_campaign_has_no_soundlinks(links: Path, tmp_path: Path) -> None:
    text = made(links, tmp_path / "one.html", "--campaign", QUIET).text
    assert "Link Two" not in text
    assert "Listener-days" not in text


def test_an_account_with_soundlinks_alone_has_a_report_of_them(tmp_path: Path) -> None:
    warehouse = NativeFile(tmp_path)
    load_soundlinks(warehouse)
    build(warehouse)
    text = made(warehouse.path, tmp_path / "report.html").text
    assert "All soundlinks 1 Apr 2026 to 20 Apr 2026" in text
    assert "6 of 20 days are provisional" in text
    assert "Link Two" in text
    for part in ("Spend", "New listeners", "Countries", "No listening"):
        assert part not in text


def test_a_file_of_a_version_that_knew_no_soundlinks_still_has_a_report(database: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.duckdb"
    earlier.write_bytes(database.read_bytes())
    with duckdb.connect(str(earlier)) as connection:
        for name in ("daily", "summary", "track_daily", "track_summary"):
            connection.execute(f"drop table marts.soundlink_{name}")
    assert "All currencies 3,200 of it final: 2,240" in made(earlier, tmp_path / "report.html").text


def test_page_says_how_far_yesterday_can_be_trusted(page: Page) -> None:
    text = page.text.replace("\u00a0", " ")
    # 10 April was pulled the morning after with half of its streams
    assert (
        "Not yet. On the day after it, a day has so far shown on average 100.0 % of its final spend in EUR,"
        " 100.0 % of its final spend in USD, 50.0 % of its final streams," in text
    )


@pytest.fixture(scope="module")
def two_accounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    warehouse = warehouse_with_rows(tmp_path_factory.mktemp("two"))
    load_second_account(warehouse)
    build(warehouse)
    return warehouse.path


def test_of_several_accounts_the_page_says_whose_a_figure_is(two_accounts: Path, page: Page) -> None:
    text = made(two_accounts, two_accounts.with_name("all.html")).text.replace("\u00a0", " ")
    assert "Of 2 accounts: bolt, default . What names none of them is over all of them." in text
    assert "All currencies 4,000 of it final: 3,040" in text, "3,200 and 800, which are all final"
    campaigns = text.split("Listed as Status")[1]
    assert re.search("Song of Bolt bolt .*? final 800", campaigns)
    assert "Quiet Playlist default playlist 37i9dQZF1DX4sWSpwq3LiO 70 % final 1,600" in campaigns
    # How days fill up is told of each alone: three quarters of bolt's streams were there at once, half of the other's.
    (bolt, default) = (
        text.split("Can I already trust yesterday?")[1].split("Data status")[0].split(", organization ")[1:]
    )
    assert "org-bolt" in bolt
    assert "75.0 % of its final streams" in bolt
    assert "50.0 % of its final streams" in default
    for account, counted in (("bolt", "10 final 0 provisional"), ("default", "14 final 6 provisional")):
        assert counted in text.split(f"{account} : campaign_country_daily")[1].split("Day by day")[0]
    assert "account" not in page.text, "of one account"


def test_days_that_lack_rows_of_an_account_are_told_at_the_head(two_accounts: Path, tmp_path: Path) -> None:
    database = shutil.copyfile(two_accounts, tmp_path / "warehouse.duckdb")
    with duckdb.connect(str(database)) as connection:
        days = "report_date between date '2026-04-02' and date '2026-04-04'"
        connection.execute(f"update marts.data_status set is_complete = false where account = 'bolt' and {days}")
    said = "3 days lack rows of account bolt that were expected"
    assert said in made(database, tmp_path / "all.html").text
    assert "lack rows" not in made(two_accounts, tmp_path / "complete.html").text


def test_a_campaigns_page_names_its_account_and_tells_how_that_ones_days_fill_up(
    two_accounts: Path, tmp_path: Path
) -> None:
    text = made(two_accounts, tmp_path / "one.html", "--campaign", "of-bolt").text.replace("\u00a0", " ")
    assert "Of account bolt ." in text
    assert "75.0 % of its final streams" in text
    assert "default" not in text


def test_page_says_when_it_was_published_and_by_which_run(page: Page) -> None:
    assert "From soundlink.duckdb, published 2026-04-22 08:00 UTC by run run-7" in page.text
    assert "Newest day that is final for every campaign and export: 14 Apr 2026." in page.text


@pytest.mark.parametrize("asked", [QUIET_ID, QUIET, QUIET.upper()])
def test_one_campaign_only_when_asked(database: Path, tmp_path: Path, asked: str) -> None:
    page = made(database, tmp_path / "one.html", "--campaign", asked)
    assert f"{QUIET} Campaign {QUIET_ID}" in page.text
    assert "Rock" not in page.text
    assert "USD" not in page.text.replace("Budgets are USD", "")
    assert "1,600 of it final: 1,120" in page.text
    assert "Promoted track" not in page.text


def test_a_campaign_is_found_by_the_id_it_is_listed_under(database: Path, tmp_path: Path) -> None:
    assert LOUD_ID in made(database, tmp_path / "one.html", "--campaign", "camp_loud").text


def test_the_page_lies_beside_the_database_unless_told(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--database", str(database), "--campaign", QUIET]) == 0
    assert (database.parent / f"report-{QUIET_ID}.html").is_file()
    assert str(database.parent) in capsys.readouterr().out


def test_an_unknown_campaign_is_told_which_there_are(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "--database", str(database), "--campaign", "Nobody")
    assert "no campaign with rows has the id or name 'Nobody'" in line
    assert QUIET in line


def test_a_missing_database_is_told_how_to_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "make demo or make backfill" in refused(capsys, "--database", str(tmp_path / "none.duckdb"))


def test_a_file_that_is_no_database_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.duckdb"
    wrong.write_text("not a database" * 1000)
    assert f"{wrong} cannot be read" in refused(capsys, "--database", str(wrong))


def test_a_file_of_an_earlier_version_is_told_how_to_renew(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = tmp_path / "earlier.duckdb"
    earlier.write_bytes(database.read_bytes())
    with duckdb.connect(str(earlier)) as connection:
        connection.execute("alter table marts.track_engagement_daily drop column exported_at")
    line = refused(capsys, "--database", str(earlier))
    assert line == f"{earlier} was made by another version of the pipeline: make rebuild makes its models anew."


def test_an_output_that_cannot_be_written_is_named(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--output" in refused(capsys, "--database", str(database), "--output", str(tmp_path))


@pytest.mark.parametrize("with_models", [True, False])
def test_an_empty_database_gives_a_page_that_says_so(tmp_path: Path, with_models: bool) -> None:
    warehouse = NativeFile(tmp_path)
    if with_models:
        build(warehouse)
    else:
        duckdb.connect(str(warehouse.path)).close()
    page = made(warehouse.path, tmp_path / "report.html")
    assert "This database holds no figures yet" in page.text
    assert "img" not in dict(page.tags)


def test_a_campaign_of_an_empty_database_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(NativeFile(tmp_path))
    assert "holds no campaign yet" in refused(
        capsys, "--database", str(tmp_path / "warehouse.duckdb"), "--campaign", "x"
    )


def test_the_data_folder_is_the_settings_and_unpublished_figures_are_said_to_be_so(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SOUNDLINK_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("SOUNDLINK_DATA_DIR=kept\n")
    assert "There is no database" in refused(capsys)
    warehouse = NativeFile(database.parent).path
    (tmp_path / "kept").mkdir()
    shutil.copyfile(warehouse, tmp_path / "kept" / warehouse.name)
    assert main([]) == 0
    assert "Nothing has been published yet" in capsys.readouterr().out
    assert "not from a published database" in Page(tmp_path / "kept" / "report.html").text
    (tmp_path / "elsewhere").mkdir()
    for file in (warehouse, database):
        shutil.copyfile(file, tmp_path / "elsewhere" / file.name)
    monkeypatch.setenv("SOUNDLINK_DATA_DIR", "elsewhere")
    assert main([]) == 0
    assert "by run run-7" in Page(tmp_path / "elsewhere" / "report.html").text


def test_a_setting_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOUNDLINK_REQUESTS_PER_HOUR", "many")
    assert "SOUNDLINK_REQUESTS_PER_HOUR" in refused(capsys, code=2)
