"""What a user may set: each setting is read, a bad one is an error that names it, and no secret is shown."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.settings.env_file import read_env_file
from soundlink_pipeline.settings.receivers import RECEIVER_SETTINGS
from soundlink_pipeline.settings.settings import Settings, settings_from
from soundlink_pipeline_tests.support.project import REPOSITORY

SETTINGS = (
    "SOUNDLINK_API_KEY",
    "SOUNDLINK_BASE_URL",
    "SOUNDLINK_AUTH",
    "SOUNDLINK_CAMPAIGN_IDS",
    "SOUNDLINK_ACCOUNTS",
    "SOUNDLINK_DATA_DIR",
    "SOUNDLINK_SQL_DIR",
    "SOUNDLINK_START_DATE",
    "SOUNDLINK_SCHEDULE",
    "SOUNDLINK_REQUESTS_PER_MINUTE",
    "SOUNDLINK_REQUESTS_PER_HOUR",
    "SOUNDLINK_LANDING_RETENTION_DAYS",
    "SOUNDLINK_DAGSTER_RETENTION_DAYS",
    "SOUNDLINK_ALERT_URL",
    "SOUNDLINK_UI_URL",
    "SOUNDLINK_MARKETING_ALERT_URL",
    "SOUNDLINK_MAX_COST_PER_FOLLOWER",
    "SOUNDLINK_MAX_COST_PER_LISTENER",
    "SOUNDLINK_REPORT_URL",
    "SOUNDLINK_EXPORT_TO",
    "SOUNDLINK_EXPORT_TIMESTAMPS",
)


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("SOUNDLINK_BASE_URL", "https://api.example.com/", "base_url", "https://api.example.com"),
        ("SOUNDLINK_BASE_URL", "http://127.0.0.1:8765", "base_url", "http://127.0.0.1:8765"),
        ("SOUNDLINK_AUTH", "bearer", "auth", "bearer"),
        ("SOUNDLINK_AUTH", "X-API-Key", "auth", "x-api-key"),
        ("SOUNDLINK_CAMPAIGN_IDS", " a, b ,,a", "campaign_ids", ("a", "b")),
        ("SOUNDLINK_DATA_DIR", "/somewhere/else", "data_dir", Path("/somewhere/else")),
        ("SOUNDLINK_DATA_DIR", "here", "data_dir", Path.cwd() / "here"),
        ("SOUNDLINK_DATA_DIR", "~/soundlink", "data_dir", Path.home() / "soundlink"),
        ("SOUNDLINK_START_DATE", "2025-06-01", "start_date", date(2025, 6, 1)),
        ("SOUNDLINK_SCHEDULE", "30 5 * * *", "schedule", "30 5 * * *"),
        ("SOUNDLINK_REQUESTS_PER_MINUTE", "30", "requests_per_minute", 30),
        ("SOUNDLINK_REQUESTS_PER_HOUR", "300", "requests_per_hour", 300),
        ("SOUNDLINK_LANDING_RETENTION_DAYS", "30", "landing_retention_days", 30),
        ("SOUNDLINK_DAGSTER_RETENTION_DAYS", "30", "dagster_retention_days", 30),
        ("SOUNDLINK_EXPORT_TO", "s3://bucket/a/b/", "export_to", "s3://bucket/a/b"),
        ("SOUNDLINK_EXPORT_TO", "lake/", "export_to", str(Path.cwd() / "lake")),
        ("SOUNDLINK_EXPORT_TIMESTAMPS", "naive", "export_timestamps", "naive"),
        ("SOUNDLINK_MAX_COST_PER_FOLLOWER", "0.50", "max_cost_per_follower", (("", Decimal("0.50")),)),
        (
            "SOUNDLINK_MAX_COST_PER_LISTENER",
            "0.5 EUR, 80 JPY,3",
            "max_cost_per_listener",
            (("EUR", Decimal("0.5")), ("JPY", Decimal("80")), ("", Decimal("3"))),
        ),
    ],
)
def test_each_setting_is_read(name: str, text: str, field: str, value: object) -> None:
    assert getattr(settings_from({name: text}), field) == value
    others = {name: getattr(settings_from({}), name) for name in vars(Settings()) if name != field}
    assert {name: getattr(settings_from({"X": "1", name: ""}), name) for name in others} == others


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in ("SOUNDLINK_API_KEY", *RECEIVER_SETTINGS)])
def test_an_empty_setting_is_the_default(name: str) -> None:
    assert settings_from({name: "  "}) == settings_from({})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SOUNDLINK_BASE_URL", "ftp://x"),
        ("SOUNDLINK_BASE_URL", "http://api.getsoundlink.com"),
        ("SOUNDLINK_AUTH", "basic"),
        ("SOUNDLINK_DATA_DIR", "/data/what?"),
        ("SOUNDLINK_DATA_DIR", "/data/?x=1/2026"),
        ("SOUNDLINK_DATA_DIR", "/data/*"),
        ("SOUNDLINK_DATA_DIR", "/data/[old]"),
        ("SOUNDLINK_DATA_DIR", "/data/C:\\data"),
        ("SOUNDLINK_DATA_DIR", "/data/\udcff"),
        ("SOUNDLINK_SQL_DIR", "/there/is/no/such/folder"),
        ("SOUNDLINK_START_DATE", "01.02.2026"),
        ("SOUNDLINK_START_DATE", "2026-02-30"),
        ("SOUNDLINK_START_DATE", "9999-12-31"),
        ("SOUNDLINK_CAMPAIGN_IDS", "a b,c"),
        ("SOUNDLINK_SCHEDULE", "every day"),
        ("SOUNDLINK_SCHEDULE", "0 25 * * *"),
        ("SOUNDLINK_REQUESTS_PER_MINUTE", "0"),
        ("SOUNDLINK_REQUESTS_PER_HOUR", "many"),
        ("SOUNDLINK_LANDING_RETENTION_DAYS", "-1"),
        ("SOUNDLINK_DAGSTER_RETENTION_DAYS", "0"),
    ],
)
def test_a_bad_setting_is_an_error_that_names_it(name: str, text: str) -> None:
    with pytest.raises(
        ValueError, match=f"^the setting {name} cannot be read from {re.escape(repr(text))}: ."
    ) as caught:
        build_definitions(settings_from({name: text}), lambda _: None)
    assert str(caught.value).count(name) <= 2


@pytest.mark.parametrize("text", ["sk_live_abcdefgh12345678", "https://someone:secret@api.getsoundlink.com"])
@pytest.mark.parametrize("name", ["SOUNDLINK_BASE_URL", "SOUNDLINK_AUTH", "SOUNDLINK_START_DATE", "SOUNDLINK_SCHEDULE"])
def test_a_key_pasted_into_another_setting_is_not_shown(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        build_definitions(settings_from({name: text}), lambda _: None)
    assert text not in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_the_data_folder_does_not_move_with_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_from({})
    assert settings.data_dir == tmp_path / "data"
    assert settings.data_dir.is_absolute()


@pytest.mark.parametrize("set_to", ["", "data"])
def test_a_project_folder_that_duckdb_cannot_use_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_to: str
) -> None:
    folder = tmp_path / "what?"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(
        ValueError, match=r"SOUNDLINK_DATA_DIR .*'data': DuckDB keeps no file in .*/what\?/data"
    ) as told:
        settings_from({"SOUNDLINK_DATA_DIR": set_to})
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("document", ["docs/settings.md", ".env.example"])
def test_every_setting_is_documented(document: str) -> None:
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    if len(text) < 200:
        pytest.skip(f"{document} is not written yet")
    files = ("definitions.py", "settings/receivers.py", "settings/settings.py")
    code = "".join((REPOSITORY / "soundlink_pipeline" / file).read_text() for file in files)
    read = set(re.findall(r"SOUNDLINK_[A-Z_]+", code))
    assert read == set(SETTINGS)
    assert [name for name in SETTINGS if name not in text] == []


def test_the_defaults_in_the_example_are_the_defaults() -> None:
    lines = (REPOSITORY / ".env.example").read_text(encoding="utf-8").splitlines()
    shown = dict(line.lstrip("#").split("=", 1) for line in lines if re.match("#?SOUNDLINK_[A-Z_]+=", line))
    assert set(shown) == set(SETTINGS)
    assert settings_from(shown) == settings_from({})


def test_a_byte_order_mark_does_not_hide_the_first_setting(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SOUNDLINK_START_DATE=2026-02-01\nSOUNDLINK_AUTH=bearer\n", encoding="utf-8-sig")
    assert read_env_file(file) == {"SOUNDLINK_START_DATE": "2026-02-01", "SOUNDLINK_AUTH": "bearer"}


@pytest.mark.parametrize(
    "text", ["0", "-1", "0,50", "1e3", "inf", "0.5 EUR 3 USD", "0.5 eur", "1, 2", "1 EUR, 2 EUR", "EUR"]
)
def test_a_price_that_cannot_be_one_is_an_error_that_says_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match=r"the setting SOUNDLINK_MAX_COST_PER_FOLLOWER cannot be read from .* 80 JPY"):
        settings_from({"SOUNDLINK_MAX_COST_PER_FOLLOWER": text})
