"""The demo: it needs no network, whatever the environment says of one, and says what its odd account has."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from soundlink_pipeline.commands import demo, demo_tour
from soundlink_pipeline.simulator import Oddities, running_simulator


@pytest.mark.parametrize(
    ("name", "text"),
    [("http_proxy", "http://127.0.0.1:9"), ("all_proxy", "socks5://127.0.0.1:9"), ("NO_PROXY", "[::1]")],
)
def test_the_demo_reaches_its_simulator_without_a_proxy(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    for other in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, text)
    with running_simulator() as simulator:
        moment = simulator.clock.now() + timedelta(days=1)
        demo._set_clock(simulator.base_url, moment)
        assert simulator.clock.now() == moment
        assert demo._requests(simulator.base_url) == 0


@pytest.mark.parametrize("hour", range(24))
def test_the_demo_simulates_no_moment_that_has_not_been(hour: int) -> None:
    now = datetime(2026, 3, 2, hour, 59, tzinfo=UTC)
    first_day, backfilled = demo._days(now)
    assert (backfilled - first_day).days == demo.BACKFILL_DAYS
    last = demo._morning(backfilled + timedelta(days=demo.DAYS_THAT_PASS))
    assert now - timedelta(days=1) < last <= now


def test_the_demos_account_has_every_oddity_but_rows_that_vanish_for_no_reason() -> None:
    switches = {f"--{switch.name.replace('_', '-')}" for switch in fields(Oddities)}
    assert set(demo._ODDITIES) == switches - {"--vanishing-keys"}


def test_the_demo_says_which_oddity_is_behind_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    @dg.asset(
        check_specs=[dg.AssetCheckSpec(name, asset="rows") for name in ("known_countries", "fees_add_up", "good")]
    )
    def rows() -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it without one only, beside checks
        results = [
            dg.AssetCheckResult(passed=name == "good", check_name=name, severity=dg.AssetCheckSeverity.WARN)
            for name in ("known_countries", "fees_add_up", "good")
        ]
        return dg.MaterializeResult(check_results=results)

    demo_tour.show_checks(dg.materialize([rows]))
    told = capsys.readouterr().out
    assert "9. Checks of the last run: 1 passed, 2 did not" in told
    assert "   known_countries of rows: listeners without a country have the codes A1 and T1" in told
    assert "   fees_add_up of rows: none of the account's oddities explains it" in told


def test_what_people_added_to_a_demo_outlives_the_next_one(tmp_path: Path) -> None:
    def made(*settings: str) -> None:
        with demo._new_folder(tmp_path):
            (tmp_path / "data").mkdir(exist_ok=True)
            (tmp_path / "data" / "soundlink.duckdb").write_text("new")
            (tmp_path / ".env").write_text("\n".join(["SOUNDLINK_BASE_URL=http://new", *settings]) + "\n")

    made()
    own = tmp_path / "data" / "own" / "plan.csv"
    own.parent.mkdir()
    own.write_text("a\n1\n")
    (tmp_path / "data" / "soundlink.duckdb").write_text("old")
    with (tmp_path / ".env").open("a") as file:
        file.write("# mine\nSOUNDLINK_REPORT_URL='mailto://localhost'\nSOUNDLINK_BASE_URL=http://old\n")
    made()
    assert own.read_text() == "a\n1\n"
    assert (tmp_path / "data" / "soundlink.duckdb").read_text() == "new"
    kept = "# mine\nSOUNDLINK_REPORT_URL='mailto://localhost'\n"
    assert (tmp_path / ".env").read_text() == f"SOUNDLINK_BASE_URL=http://new\n{kept}"
    with pytest.raises(RuntimeError), demo._new_folder(tmp_path):
        raise RuntimeError
    assert own.read_text() == "a\n1\n", "once, and where it was"
    assert not (tmp_path / ".before").exists()


def test_a_link_and_odd_bytes_that_people_added_to_a_demo_stay_as_they_are(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (home / "data").mkdir(parents=True)
    (home / "data" / "own").symlink_to(elsewhere)
    (home / ".env").write_bytes(b"export A='1'\r\n# caf\xe9\nSOUNDLINK_BASE_URL=http://old\n")
    with demo._new_folder(home):
        (home / "data").mkdir(exist_ok=True)
        (home / ".env").write_text("SOUNDLINK_BASE_URL=http://new\n")
    assert (home / "data" / "own").readlink() == elsewhere
    assert (home / ".env").read_bytes() == b"SOUNDLINK_BASE_URL=http://new\nexport A='1'\n# caf\xe9\n"
