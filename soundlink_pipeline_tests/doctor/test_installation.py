"""What the doctor says of packages, settings, definitions and SQL models."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import dagster as dg
import pytest

from soundlink_pipeline.doctor.checks import run_checks
from soundlink_pipeline_tests.support.examined import NOW, Examined, empty_project
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY, Project
from soundlink_pipeline_tests.support.sql_folder import sql_folder


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with empty_project(tmp_path) as made:
        yield made


def test_package_outside_its_range_or_missing_is_a_fault(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "filelock":
            raise metadata.PackageNotFoundError(name)
        return {"duckdb": "1.4.2", "dagster": "1.14.0"}.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    examined = Examined(here)
    assert examined.bad("Installation") == [("FAULT", "dagster"), ("FAULT", "duckdb"), ("FAULT", "filelock")]
    says = examined.one("Installation", "duckdb").message
    assert says.startswith("1.4.2 is installed, but ")
    assert ">=2.0" in says


def test_every_setting_that_cannot_be_read_is_named_and_nothing_else_is_examined(here: Project) -> None:
    examined = Examined(here, SOUNDLINK_START_DATE="soon", SOUNDLINK_REQUESTS_PER_HOUR="0", SOUNDLINK_AUTH="none")
    faults = {finding.what for finding in examined.group("Settings") if finding.level == "FAULT"}
    assert faults == {"SOUNDLINK_START_DATE", "SOUNDLINK_REQUESTS_PER_HOUR", "SOUNDLINK_AUTH"}
    assert examined.titles == ["Installation", "Settings"]
    assert here.sim.stats.records == []


def test_proxy_that_cannot_be_used_is_a_fault_where_requests_would_take_it(here: Project) -> None:
    proxy = "socks5://someone:hidden@proxy.example:1080"
    assert Examined(here, all_proxy=proxy).bad("Settings") == []
    examined = Examined(here, all_proxy=proxy, SOUNDLINK_BASE_URL="https://api.example")
    (told,) = [finding for finding in examined.group("Settings") if finding.level == "FAULT"]
    assert told.what == "proxy"
    assert told.message.startswith("the setting all_proxy cannot be used")
    assert "hidden" not in told.message
    assert examined.titles == ["Installation", "Settings"]


def test_command_names_every_setting_of_the_environment_that_cannot_be_read(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "soundlink_pipeline.doctor"],
        check=False,
        cwd=tmp_path,
        env={"SOUNDLINK_START_DATE": "soon", "SOUNDLINK_AUTH": KEY, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 1
    assert told.stderr == ""
    assert re.findall(r"FAULT  (\w+)", told.stdout) == ["SOUNDLINK_AUTH", "SOUNDLINK_START_DATE"]
    assert KEY not in told.stdout
    assert list(tmp_path.iterdir()) == []


def test_definitions_that_do_not_load_are_a_fault(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise dg.DagsterInvalidDefinitionError("two assets of one name\nand a long explanation")

    monkeypatch.setattr("soundlink_pipeline.doctor.installation.build_definitions", broken)
    says = Examined(here).one("Settings", "definitions").message
    assert says == "Dagster cannot load them: two assets of one name"
    monkeypatch.setattr("soundlink_pipeline.doctor.installation.settings_from", broken)
    examined = Examined(here)
    assert examined.titles == ["Installation", "Settings"]
    assert examined.one("Settings", "definitions").message == says


def test_misspelt_setting_and_one_that_hides_the_env_file_are_warned_of(here: Project) -> None:
    in_file = {"SOUNDLINK_APIKEY": KEY, "SOUNDLINK_AUTH": "bearer"}
    environment = {**here.settings, "SOUNDLINK_AUTH": "auto", "SOUNDLINK_ALERT_URL": "https://alerts.invalid/x"}
    groups = dict(run_checks(in_file, environment, lambda: NOW))
    found = {finding.what: finding for finding in groups["Settings"]}
    assert "is not a setting" in found["SOUNDLINK_APIKEY"].message
    assert "the environment wins" in found["SOUNDLINK_AUTH"].message
    assert {name for name, finding in found.items() if finding.level != "ok"} == {"SOUNDLINK_APIKEY", "SOUNDLINK_AUTH"}


def test_alert_url_that_cannot_be_one_is_a_fault_that_does_not_show_it(here: Project) -> None:
    examined = Examined(here, SOUNDLINK_ALERT_URL="http://alerts.invalid/hidden-part")
    finding = examined.one("Settings", "SOUNDLINK_ALERT_URL")
    assert finding.level == "FAULT"
    assert "use https" in finding.message
    assert "hidden-part" not in finding.message + finding.fix
    assert examined.titles == ["Installation", "Settings"]


def test_start_in_the_future_is_warned_of(here: Project) -> None:
    assert Examined(here, SOUNDLINK_START_DATE="2026-03-01").bad("Settings") == []
    assert Examined(here, SOUNDLINK_START_DATE="2026-03-02").bad("Settings") == [("warn", "SOUNDLINK_START_DATE")]


def test_broken_sql_file_is_warned_of_with_file_and_reason(here: Project, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "dbt_like_sql", tmp_path / "models here")
    broken = tmp_path / "models here" / "models" / "marts" / "broken.sql"
    broken.write_text("select nothing_there from {{ source('soundlink', 'campaigns') }}\n")
    examined = Examined(here, SOUNDLINK_SQL_DIR=str(tmp_path / "models here"))
    assert examined.bad("SQL models") == [("warn", "broken.sql")]
    assert examined.bad("Settings") == []
    says = examined.one("SQL models", "broken.sql").message
    assert str(broken) in says
    assert "nothing_there" in says


def test_tests_that_cannot_be_run_and_what_is_not_honoured_are_warned_of(here: Project, tmp_path: Path) -> None:
    models = tmp_path / "models"
    changes: dict[str, str | None] = {
        "models/empty.sql": "",
        "tests/wrong.sql": "select nothing\nfrom {{ ref('daily') }}",
        "packages.yml": "packages: []",
    }
    examined = Examined(here, SOUNDLINK_SQL_DIR=str(sql_folder(models, changes)))
    assert examined.bad("SQL models") == [("warn", "empty.sql"), ("warn", "wrong.sql"), ("warn", "packages.yml")]
    assert [examined.one("SQL models", name).message for name in ("empty.sql", "wrong.sql", "packages.yml")] == [
        f"{models}/models/empty.sql: is empty: there is no query in it",
        f'{models}/tests/wrong.sql, line 1: Binder Error: Referenced column "nothing" not found in FROM clause!',
        f"{models}/packages.yml: not honoured by soundlink: packages",
    ]
