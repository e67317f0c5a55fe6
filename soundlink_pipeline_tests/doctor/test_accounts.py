"""What the doctor says of an accounts file and of each of its accounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from soundlink_pipeline.simulator import CAMPAIGNS_READ, METRICS_READ, SOUNDLINKS_READ, ClientInfo, KeyInfo
from soundlink_pipeline_tests.support.examined import NOW, Examined, empty_project
from soundlink_pipeline_tests.support.project import KEY, Project

SECRET = "cs_4f9Qx2Wv7LmN8pR1sTz"
SECRETS = {"LABEL_A_KEY": KEY, "LABEL_B_KEY": "sk_test_Revoked7Key", "AGENCY_SECRET": SECRET}
OTHER = "a7ac3173-2f71-4e79-921f-d15d7112dd11"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    with empty_project(tmp_path) as made:
        made.sim.keys[SECRETS["LABEL_B_KEY"]] = KeyInfo(revoked=True)
        made.sim.oauth.clients["agency"] = ClientInfo(SECRET, consents={made.sim.world.account_id})
        yield made


def oauth(name: str, organization: str) -> str:
    return (
        f"[accounts.{name}]\nclient_id = 'agency'\nclient_secret_env = 'AGENCY_SECRET'\n"
        f"organization_id = '{organization}'\n"
    )


def examined(here: Project, text: str, **more: str) -> Examined:
    file = here.folder / "accounts.toml"
    file.write_text(text)
    settings = {"SOUNDLINK_API_KEY": "", "SOUNDLINK_ACCOUNTS": str(file), **SECRETS, **more}
    return Examined(here, NOW, None, **settings)


def test_of_each_account_is_told_what_is_told_of_an_only_one_and_one_that_fails_costs_the_others_nothing(
    here: Project,
) -> None:
    keys = "[accounts.label_a]\nkey_env = 'LABEL_A_KEY'\n[accounts.label_b]\nkey_env = 'LABEL_B_KEY'\n"
    here.sim.keys[KEY] = KeyInfo(scopes=frozenset({CAMPAIGNS_READ, METRICS_READ}))
    organization = here.sim.world.account_id
    found = examined(here, keys + oauth("label_c", organization) + oauth("label_d", OTHER))
    assert found.bad("Settings") == []
    assert found.bad("API") == [("FAULT", "label_b: key"), ("FAULT", "label_d: token")]
    of_key = ["key", "campaigns:read", "organization", "soundlinks:read", "metrics:read", "limits", "requests"]
    of_client = ["token", "campaigns:read", "soundlinks:read", "organization", "metrics:read", "limits", "requests"]
    assert [finding.what for finding in found.group("API") if finding.what not in ("host", "clock")] == [
        *(f"label_a: {what}" for what in of_key),
        "label_b: key",
        *(f"label_c: {what}" for what in of_client),
        "label_d: token",
    ]
    assert [finding.what for finding in found.group("API")].count("host") == 1
    assert found.one("API", "label_a: organization").message == organization
    assert found.one("API", "label_a: soundlinks:read").message.startswith("soundlinks are left out: the API key lacks")
    assert "a daily refresh needs" in found.one("API", "label_c: limits").message
    assert found.one("API", "label_a: requests").message.startswith(
        "4 made by the doctor"
    )  # the ping, two lists, a day
    assert not any(secret in finding.message + finding.fix for finding in found.all for secret in SECRETS.values())


def test_an_account_whose_rows_would_be_refused_is_a_fault(here: Project) -> None:
    found = examined(here, f"[accounts.label_a]\nkey_env = 'LABEL_A_KEY'\norganization_id = '{OTHER}'\n")
    assert found.bad("API") == [("FAULT", "organization")]
    assert f"says {OTHER}, and rows of another are refused" in found.one("API", "organization").message


def test_ids_that_the_file_names_are_told_of_the_file_and_their_account(here: Project) -> None:
    here.sim.keys[KEY] = KeyInfo(scopes=frozenset({CAMPAIGNS_READ, METRICS_READ, SOUNDLINKS_READ}))
    keys = "[accounts.label_a]\nkey_env = 'LABEL_A_KEY'\ncampaign_ids = ['camp_x']\nsoundlink_ids = ['link_x']\n"
    found = examined(here, keys + oauth("label_c", here.sim.world.account_id))
    told = {finding.what: finding for finding in found.group("API") if finding.what.startswith("label_a: ")}
    where = f"of account label_a in {here.folder / 'accounts.toml'}"
    assert (
        told["label_a: campaign_ids"].fix == f"correct camp_x in campaign_ids {where}, or take it out: runs fail for it"
    )
    assert told["label_a: soundlink_ids"].fix.startswith(f"correct link_x in soundlink_ids {where}")
    assert told["label_a: campaigns:read"].message == f"not needed to list: campaign_ids {where} names 1 campaign"
    here.sim.keys[KEY] = KeyInfo(scopes=frozenset({METRICS_READ}))
    found = examined(here, keys)
    said = "\n".join(finding.message + finding.fix for finding in found.group("API"))
    assert f"1 of 1 soundlink in soundlink_ids {where}" in said
    assert "SOUNDLINK_CAMPAIGN_IDS" not in said


def test_a_missing_secret_and_a_used_up_limit_are_told_of_their_account(here: Project) -> None:
    keys = "[accounts.label_a]\nkey_env = 'LABEL_A_KEY'\n[accounts.label_b]\nkey_env = 'LABEL_B_KEY'\n"
    here.sim.faults.add("status", match="/v1/ping", status=429, code="rate_limit_exceeded", retry_after=900)
    found = examined(here, keys, LABEL_B_KEY="")
    assert found.bad("API") == [("warn", "label_a: limits"), ("FAULT", "label_b: LABEL_B_KEY")]
    assert found.one("API", "label_a: limits").message.startswith("are used up for now")
    assert "accounts.toml, line 4: account label_b needs" in found.one("API", "label_b: LABEL_B_KEY").message


def test_a_host_that_does_not_answer_is_one_fault_for_all(here: Project) -> None:
    keys = "[accounts.label_a]\nkey_env = 'LABEL_A_KEY'\n[accounts.label_b]\nkey_env = 'LABEL_B_KEY'\n"
    here.sim.faults.add("disconnect", times=None)
    assert examined(here, keys).bad("API") == [("FAULT", "host")]
    for text in (oauth("label_c", OTHER), oauth("label_c", OTHER) + keys):
        found = examined(here, text)
        assert found.bad("API") == [("FAULT", "host")]
        assert found.one("API", "host").message.startswith("account label_c gets no token: the connection to")


def test_an_only_account_of_a_file_is_examined_as_a_key_is(here: Project) -> None:
    found = examined(here, oauth("label_a", here.sim.world.account_id))
    assert found.bad("API") == []
    assert found.one("API", "token").message == "account label_a gets one, which is valid"
    assert found.one("API", "campaigns:read").message == "3 campaigns listed"
    here.sim.oauth.clients["agency"].consents.clear()
    found = examined(here, oauth("label_a", here.sim.world.account_id))
    assert found.bad("API") == [("FAULT", "token")]


def test_an_accounts_file_that_cannot_be_read_is_a_fault_of_the_settings(here: Project) -> None:
    found = examined(here, "[accounts.label_a]\nkey_env = 3\n", SOUNDLINK_START_DATE="2026-02-01")
    finding = found.one("Settings", "accounts")
    assert finding.level == "FAULT"
    assert "accounts.toml, line 2: key_env of account label_a" in finding.message
    beside = examined(here, "[accounts.label_a]\nkey_env = 'LABEL_A_KEY'\n", SOUNDLINK_API_KEY=KEY)
    assert "the setting SOUNDLINK_API_KEY must not be set beside" in beside.one("Settings", "accounts").message


def test_variables_that_accounts_name_are_no_unknown_settings(here: Project) -> None:
    text = "[accounts.label_a]\nkey_env = 'SOUNDLINK_KEY_OF_A'\n"
    assert examined(here, text, SOUNDLINK_KEY_OF_A=KEY).bad("Settings") == []
    in_capitals = oauth("label_a", OTHER.upper())
    assert examined(here, in_capitals).bad("Settings") == [("warn", "accounts")]
