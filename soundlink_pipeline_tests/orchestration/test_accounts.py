"""Runs with accounts of a file: with tokens in place of a key, and with what is wrong told before any request."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from soundlink_pipeline.api.account_client import requests_file
from soundlink_pipeline.api.pacing import Cancelled
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.definitions import secret_from_environment
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.simulator import ClientInfo, KeyInfo
from soundlink_pipeline_tests.support.project import KEY, Project, each_day, failure_of, project, small_world, truth

SECRET = "cs_4f9Qx2Wv7LmN8pR1sTz"
DAYS = ("2026-02-10", "2026-02-12")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project whose one account has a client of OAuth."""
    with project(tmp_path, small_world(3)) as made:
        monkeypatch.delenv("SOUNDLINK_API_KEY")
        monkeypatch.setenv("AGENCY_SECRET", SECRET)
        organization = made.sim.world.account_id
        made.sim.keys.clear()
        made.sim.oauth.clients["agency"] = ClientInfo(SECRET, consents={organization})
        name_accounts(
            made,
            f"[accounts.label_a]\nclient_id = 'agency'\nclient_secret_env = 'AGENCY_SECRET'\n"
            f"organization_id = '{organization}'\n",
        )
        yield made


def name_accounts(here: Project, text: str) -> None:
    file = here.folder / "accounts.toml"
    file.write_text(text)
    here.settings["SOUNDLINK_ACCOUNTS"] = str(file)


def test_a_run_whose_token_ends_in_the_middle_loads_everything_and_stores_no_secret(here: Project) -> None:
    here.sim.faults.add("status", match="/export", skip=3, status=401, code="invalid_token")
    assert here.refresh(*DAYS).success
    for export in EXPORTS:
        assert here.table(export) == truth(here.sim.world, export, each_day(*DAYS, here.sim.clock.now()))
    assert here.sim.stats.count(kind="token") == 2
    given = [token.encode() for token in here.sim.oauth._tokens]
    assert len(given) == 2
    for path, content in here.texts():
        assert not any(secret in content for secret in (SECRET.encode(), SECRET[3:].encode(), *given)), path


def test_an_organization_without_consent_is_told_and_nothing_else_is_requested(here: Project) -> None:
    here.sim.oauth.clients["agency"].consents.clear()
    failure = failure_of(here.refresh(*DAYS))
    assert "account label_a gets no token: organization " in failure
    assert "has not consented to this client" in failure
    assert {record.kind for record in here.sim.stats.records} == {"token"}


def test_a_missing_secret_of_any_account_ends_a_run_before_its_first_request(here: Project) -> None:
    name_accounts(here, f"{(here.folder / 'accounts.toml').read_text()}\n[accounts.label_b]\nkey_env = 'LABEL_B_KEY'\n")
    failure = failure_of(here.refresh(*DAYS))
    assert "accounts.toml, line 7: account label_b needs the environment variable LABEL_B_KEY" in failure
    assert here.sim.stats.records == []


def test_a_damaged_count_of_requests_is_named_by_its_file(here: Project) -> None:
    file = requests_file(settings_from(here.settings).accounts[0])
    here.data.mkdir()
    (here.data / file).write_bytes(b"no database" * 500)
    assert f"requests cannot be counted: {file} in the data folder is damaged" in failure_of(here.refresh(*DAYS))


def test_an_account_whose_limit_is_used_up_is_noted_as_waiting(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_B_KEY", KEY)
    here.sim.keys[KEY] = KeyInfo()
    of_client = (here.folder / "accounts.toml").read_text()
    name_accounts(here, f"{of_client}\n[accounts.label_b]\nkey_env = 'LABEL_B_KEY'\nrequests_per_minute = 1\n")
    soundlink = Soundlink(settings_from(here.settings), secret_from_environment)
    with soundlink.connect(lambda _: None, soundlink.settings.accounts[1]) as (client, pacer):
        client.ping()
        with ThreadPoolExecutor(1) as threads:
            second = threads.submit(client.ping)
            for _ in range(1000):
                if soundlink.progress.waiting() or second.done():
                    break
                threading.Event().wait(0.01)
            said = soundlink.progress.waiting()
            pacer.cancelled.set()
            assert isinstance(second.exception(10), Cancelled)
    assert said == "; account label_b waits until the API may be asked again"


def test_each_account_has_its_client_and_steps_share_its_token(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_B_KEY", KEY)
    here.sim.keys[KEY] = KeyInfo()
    name_accounts(
        here,
        (here.folder / "accounts.toml")
        .read_text()
        .replace(here.sim.world.account_id, here.sim.world.account_id.upper())
        + "\n[accounts.label_b]\nkey_env = 'LABEL_B_KEY'\n",
    )
    soundlink = Soundlink(settings_from(here.settings), secret_from_environment)
    of_client, of_key = soundlink.settings.accounts
    told: list[str] = []
    for _ in range(2):  # steps of a run
        for account in (of_client, of_key):
            with soundlink.connect(told.append, account) as (client, _):
                client.ping()
    assert [record.kind for record in here.sim.stats.records] == ["token", "ping", "ping", "ping", "ping"]
    # Its id is in another case than the rows'.
    assert len(told) == 2
    assert all("organization_id of account label_a is not in lower case" in line for line in told)
