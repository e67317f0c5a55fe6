"""What the doctor says of an accounts file and of each of its accounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from soundlink_pipeline.simulator import ClientInfo, KeyInfo
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


def test_each_account_is_one_line_and_one_that_fails_costs_the_others_nothing(here: Project) -> None:
    keys = "[accounts.label_a]\nkey_env = 'LABEL_A_KEY'\n[accounts.label_b]\nkey_env = 'LABEL_B_KEY'\n"
    found = examined(here, keys + oauth("label_c", here.sim.world.account_id) + oauth("label_d", OTHER))
    assert found.bad("Settings") == []
    assert [(finding.level, finding.what, finding.message.partition(";")[0]) for finding in found.group("API")] == [
        ("ok", "account label_a", "its key is valid"),
        ("FAULT", "account label_b", "this API key was revoked"),
        ("ok", "account label_c", "gets a token, which is valid"),
        ("FAULT", "account label_d", found.one("API", "account label_d").message.partition(";")[0]),
    ]
    assert found.one("API", "account label_d").message.startswith("account label_d gets no token: organization")
    assert "put it into LABEL_B_KEY" in found.one("API", "account label_b").message
    assert [record.kind for record in here.sim.stats.records].count("ping") == 3
    assert not any(secret in finding.message + finding.fix for finding in found.all for secret in SECRETS.values())


def test_a_missing_secret_and_a_used_up_limit_are_told_of_their_account(here: Project) -> None:
    keys = "[accounts.label_a]\nkey_env = 'LABEL_A_KEY'\n[accounts.label_b]\nkey_env = 'LABEL_B_KEY'\n"
    here.sim.faults.add("status", match="/v1/ping", status=429, code="rate_limit_exceeded", retry_after=900)
    found = examined(here, keys, LABEL_B_KEY="")
    assert found.bad("API") == [("warn", "account label_a"), ("FAULT", "account label_b")]
    assert found.one("API", "account label_a").message.startswith("its limits are used up for now")
    assert "accounts.toml, line 4: account label_b needs" in found.one("API", "account label_b").message


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
