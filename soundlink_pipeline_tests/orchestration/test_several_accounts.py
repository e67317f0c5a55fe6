"""Several accounts in one warehouse, by real runs: what is wrong with one costs the others nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.orchestration.failures import failed_accounts
from soundlink_pipeline.simulator import ClientInfo, Fault, KeyInfo, World
from soundlink_pipeline.simulator.organizations import Organization
from soundlink_pipeline_tests.orchestration.told import lines_of
from soundlink_pipeline_tests.support.project import (
    KEY,
    Project,
    each_day,
    failure_of,
    project,
    truth,
    utc,
)

DAYS = ("2026-02-22", "2026-03-01")
NOW = utc("2026-03-02T06:00")
SECRET = "cs_4f9Qx2Wv7LmN8pR1sTz"


def world(seed: int) -> World:
    return World(seed, campaigns=2, soundlinks=1, countries_per_campaign=2, tracks_per_campaign=1)


class Agency:
    """A project with an account for each of some organizations, in the order of `names`."""

    def __init__(self, here: Project, names: tuple[str, ...], patch: pytest.MonkeyPatch) -> None:
        self.here, self.names, self._patch, self._files = here, names, patch, 0
        patch.delenv("SOUNDLINK_API_KEY")
        here.sim.keys.clear()
        first = here.sim.world
        self.worlds = {name: first if not number else world(number + 1) for number, name in enumerate(names)}
        for name, of in self.worlds.items():
            here.sim.organizations.setdefault(of.account_id, Organization(of.account_id, of))
            here.sim.keys[self.key(name)] = KeyInfo(organization=of.account_id)
            patch.setenv(f"KEY_{name.upper()}", self.key(name))
        self.name(*names)

    def key(self, name: str) -> str:
        return f"{KEY}{name}"

    def organization(self, name: str) -> str:
        return self.worlds[name].account_id

    def name(self, *names: str, **lines: str) -> None:
        """Write the accounts file: a key of its own for each, and further `lines` of some."""
        self.write(
            "\n".join(f"[accounts.{name}]\nkey_env = 'KEY_{name.upper()}'\n{lines.get(name, '')}" for name in names)
        )

    def write(self, text: str) -> None:
        self._files += 1  # under another name, since definitions are kept by their settings
        file = self.here.folder / f"accounts-{self._files}.toml"
        file.write_text(text)
        self.here.settings["SOUNDLINK_ACCOUNTS"] = str(file)

    def refresh(self, days: tuple[str, str] = DAYS, **config: Any) -> dg.JobExecutionResult:
        run_config = {"ops": {"exports": {"config": config}}} if config else {}
        return self.here.refresh(*days, run_config=run_config)

    def holds(self, *names: str, days: tuple[str, str] = DAYS) -> bool:
        """Whether the exports hold what these accounts answer on the days, and nothing else of them."""
        moment, within = self.here.sim.clock.now(), f"report_date between '{days[0]}' and '{days[1]}'"
        return all(
            self.here.table(export, within)
            == sorted(
                (row for name in names for row in truth(self.worlds[name], export, each_day(*days, moment))),
                key=lambda row: [row[export.column_names.index(column)] for column in export.primary_key],
            )
            for export in EXPORTS
        )

    def requests(self, name: str) -> int:
        return self.here.sim.stats.count(organization=self.organization(name))


def warnings_of(here: Project, result: dg.JobExecutionResult) -> list[str]:
    entries = here.instance.all_logs(result.run_id)
    return [entry.user_message for entry in entries if entry.level == 30 and entry.user_message]


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agency]:
    with project(tmp_path, world(1)) as here:
        yield Agency(here, ("acme", "bolt"), monkeypatch)


def test_the_accounts_of_a_file_are_loaded_side_by_side_into_one_warehouse(two: Agency) -> None:
    assert two.refresh().success
    assert two.holds("acme", "bolt")
    accounts = two.here.query(
        "select name, organization_ids, campaigns, soundlinks, is_expected from accounts order by 1"
    )
    assert accounts == [(name, [two.organization(name)], 2, 1, True) for name in ("acme", "bolt")]
    assert two.here.query("select count(*) from campaigns group by account") == [(2,), (2,)]
    assert two.here.query("select account, strategy_type from campaigns order by all") == sorted(
        (name, campaign.strategy) for name in ("acme", "bolt") for campaign in two.worlds[name].campaigns
    )
    assert two.here.query("select count(auto_follow) from soundlinks group by account") == [(1,), (1,)]
    landed = {path.parent.name for path in (two.here.data / "landing" / "accounts").glob("*/*")}
    assert landed == {"acme", "bolt"}
    before = two.here.everything()
    (two.here.data / "warehouse.duckdb").unlink()
    two.here.sim.stats.reset()
    assert two.here.execute("rebuild_from_landing").success
    assert two.here.everything() == before
    assert two.here.sim.stats.records == []


def test_a_revoked_key_costs_the_other_account_nothing_and_the_run_says_whose_it_is(two: Agency) -> None:
    two.here.sim.keys[two.key("bolt")].revoked = True
    result = two.refresh()
    assert two.holds("acme")
    first, line = [line for line in failure_of(result).splitlines() if "bolt" in line]
    assert first.startswith("Nothing could be requested of account bolt; ")
    assert line.startswith("account bolt, 2026-02-22 to 2026-03-01: ")
    assert "revoked" in line
    assert "acme" not in failure_of(result)
    assert two.here.execute("models_and_publication").success
    assert (two.here.data / "soundlink.duckdb").exists()
    two.here.sim.keys[two.key("bolt")].revoked = False
    two.here.sim.stats.reset()
    assert two.here.resume(result).success
    assert two.holds("acme", "bolt")
    assert two.here.sim.stats.count(organization=two.organization("acme"), path_contains="/metrics/") == 0


def test_an_outage_in_the_middle_of_one_account_costs_the_other_nothing(two: Agency) -> None:
    away: dict[str, Any] = {"status": 503, "retry_after": 7200, "organization": two.organization("bolt")}
    two.here.sim.faults.add(Fault("status", match="/metrics/", skip=1, times=None, **away))
    result = two.refresh()
    lines, why = failure_of(result).splitlines(), failed_accounts(two.here.instance, result.run_id)
    assert set(why) == {"bolt"}
    assert re.match(r"\d+ pulls? failed, first campaign_[a-z]+_daily of .*, 2026-\S+ to 2026-\S+: ", why["bolt"])
    assert {line.split(",")[0] for line in lines if line.startswith("account")} == {"account bolt"}
    of_acme = f"account_id = '{two.organization('acme')}'"
    for export in EXPORTS:
        assert two.here.table(export, of_acme) == truth(two.worlds["acme"], export, each_day(*DAYS, NOW))


def test_a_step_of_which_no_account_works_names_each(two: Agency) -> None:
    for name in two.names:
        two.here.sim.keys[two.key(name)].revoked = True
    result = two.refresh()
    failure, why = failure_of(result), failed_accounts(two.here.instance, result.run_id)
    assert all(f"account {name}: {why[name]}" in failure for name in two.names)


def test_an_account_is_added_and_another_taken_out_whose_rows_stay(two: Agency) -> None:
    two.name("acme")
    assert two.refresh().success
    assert two.holds("acme")
    two.name("acme", "bolt")
    two.here.sim.stats.reset()
    assert two.refresh().success
    assert two.holds("acme", "bolt")
    final = [record for record in two.here.sim.stats.records if "startDate=2026-02-22" in record.query]
    assert {record.organization for record in final} == {two.organization("bolt")}
    two.name("bolt")
    two.here.sim.clock.set(utc("2026-03-03T06:00"))
    two.here.sim.stats.reset()
    assert two.refresh(("2026-02-23", "2026-03-02")).success
    assert two.requests("acme") == 0
    assert two.here.query("select name, is_expected from accounts order by 1") == [("acme", False), ("bolt", True)]
    held = "select count(*) > 0 from campaign_country_daily where account_id = "
    assert two.here.query(f"{held}'{two.organization('acme')}'") == [(True,)]


def test_an_account_under_another_name_is_refused_before_it_is_pulled_twice(two: Agency) -> None:
    two.name("acme")
    assert two.refresh().success
    before = two.here.everything()
    two.write("[accounts.acme_records]\nkey_env = 'KEY_ACME'\n")
    two.here.sim.stats.reset()
    failure = failure_of(two.refresh())
    assert "account acme_records is new, and lists the campaigns of account acme" in failure
    assert two.here.sim.stats.count(path_contains="/metrics/") == 0
    assert two.here.everything() == before
    assert not list((two.here.data / "landing" / "accounts" / "acme_records").rglob("*.ndjson*"))


def test_days_before_an_accounts_own_first_day_are_not_asked_for(two: Agency) -> None:
    two.name("acme", "bolt", bolt="start_date = 2026-02-26")
    result = two.refresh()
    assert result.success
    assert warnings_of(two.here, result) == []
    (told,) = [line for line in lines_of(two.here, result) if line.startswith("bolt: the earliest campaign was ")]
    assert " to SOUNDLINK_START_DATE or start_date of account bolt in " in told
    assert told.endswith(" (2026-02-26) are left out")
    days = "select min(report_date) from report_date_status where account = "
    assert two.here.query(f"{days}'acme'") != two.here.query(f"{days}'bolt'")
    assert two.here.query(f"{days}'bolt'") == [(utc("2026-02-26").date(),)]
    before = two.refresh(("2026-02-20", "2026-02-21"))
    said = "bolt: nothing of 2026-02-20 to 2026-02-21 is asked for: its start_date is 2026-02-26"
    assert said in lines_of(two.here, before)


def test_a_run_may_be_limited_to_accounts(two: Agency) -> None:
    assert two.refresh(accounts=["bolt"]).success
    assert two.holds("bolt")
    assert two.requests("acme") == 0


def test_a_scope_that_one_account_lacks_is_said_once_and_the_other_is_whole(two: Agency) -> None:
    two.here.sim.keys[two.key("bolt")] = KeyInfo(
        scopes=frozenset({"campaigns:read", "metrics:read"}), organization=two.organization("bolt")
    )
    result = two.refresh()
    assert result.success
    (said,) = warnings_of(two.here, result)
    assert said.startswith("bolt: soundlink_country_daily and soundlink_engagement_daily left out: ")
    links = "select distinct account_id from soundlink_country_daily"
    assert two.here.query(links) == [(two.organization("acme"),)]


def test_accounts_of_one_client_take_turns_and_one_without_consent_costs_the_others_nothing(two: Agency) -> None:
    sim, orgs = two.here.sim, [two.organization(name) for name in two.names]
    two._patch.setenv("AGENCY_SECRET", SECRET)
    sim.oauth.clients["agency"] = ClientInfo(SECRET, consents=set(orgs))
    two.write(
        "\n".join(
            f"[accounts.{name}]\nclient_id = 'agency'\nclient_secret_env = 'AGENCY_SECRET'\n"
            f"organization_id = '{two.organization(name)}'"
            for name in two.names
        )
    )
    assert two.refresh().success
    assert two.holds("acme", "bolt")
    asked = [record.organization for record in sim.stats.records if record.kind.endswith("_export")]
    half = asked[: len(asked) // 2]
    assert abs(half.count(orgs[0]) - half.count(orgs[1])) <= 3, "they take turns"
    sim.oauth.clients["agency"].consents.discard(orgs[1])
    sim.clock.set(utc("2026-03-03T06:00"))
    failure = failure_of(two.refresh(("2026-02-23", "2026-03-02")))
    assert "account bolt" in failure
    assert "account acme" not in failure
    newest = "select max(report_date) from campaign_country_daily where account_id = "
    assert two.here.query(f"{newest}'{orgs[0]}'") == [(utc("2026-03-02").date(),)]


def test_two_keys_of_one_organization_are_told_and_no_row_is_held_twice(two: Agency) -> None:
    two.here.sim.keys[two.key("bolt")] = KeyInfo(organization=two.organization("acme"))
    result = two.refresh(("2026-02-27", "2026-03-01"))
    assert result.success
    assert two.holds("acme", days=("2026-02-27", "2026-03-01"))
    assert [line.partition(":")[0] for line in warnings_of(two.here, result)] == [
        "accounts acme and bolt list the same campaigns (2 campaigns)",
        "accounts acme and bolt list the same soundlinks (1 soundlink)",
    ]
    assert two.here.query("select account, count(strategy_type) from campaigns group by all order by all") == [
        ("acme", 2),
        ("bolt", 2),
    ]


def test_of_five_accounts_none_waits_for_another_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a", "b", "c", "d", "e")
    with project(tmp_path, world(1)) as here:
        five = Agency(here, names, monkeypatch)
        here.sim.faults.add(Fault("slow", match="/metrics/", times=None, chunk=1024, pause=0.02))
        assert five.refresh().success
        assert five.holds(*names)
        asked = [record.organization for record in here.sim.stats.records if record.kind.endswith("_export")]
        first = [asked.index(five.organization(name)) for name in names]
        last = [len(asked) - 1 - asked[::-1].index(five.organization(name)) for name in names]
        assert max(first) < min(last)
