"""What accounts share, and what each has for itself: limits, what is known of the way in, and the files of both."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from soundlink_pipeline.api.account_client import account_client, requests_file, tokens_file
from soundlink_pipeline.api.auth import SchemeMemory
from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.errors import KeyRefused, ScopeMissing
from soundlink_pipeline.api.oauth import Tokens
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.settings.accounts import Account
from soundlink_pipeline.simulator import ClientInfo, KeyInfo, SimClock, Simulator, World, running_simulator
from soundlink_pipeline_tests.api.shared import KEY, KEYS, NOW

FIRST, SECOND = World(1, campaigns=2), World(2, campaigns=3)
SECRETS = {"A_KEY": KEY, "B_KEY": "sk_test_Other7Key", "REVOKED": "sk_test_revoked", "METRICS": "sk_test_metrics"}
SECRETS["AGENCY"] = "cs_4f9Qx2Wv7LmN8pR1sTz"
OpenClient = Callable[[Account], tuple[SoundlinkClient, Pacer]]


def oauth(name: str, organization: str, client: str = "agency") -> Account:
    return Account(name=name, client_id=client, client_secret_env="AGENCY", organization_id=organization, auth="bearer")


@pytest.fixture
def server() -> Iterator[Simulator]:
    clients = {"agency": ClientInfo(SECRETS["AGENCY"], consents={FIRST.account_id, SECOND.account_id})}
    with running_simulator(
        FIRST,
        SimClock(NOW),
        keys={**KEYS, SECRETS["B_KEY"]: KeyInfo(organization=SECOND.account_id)},
        organizations={SECOND.account_id: SECOND},
        clients=clients,
        per_minute=None,
        per_hour=None,
    ) as simulator:
        yield simulator


@pytest.fixture
def open_client(server: Simulator, tmp_path: Path) -> Iterator[OpenClient]:
    tokens = Tokens()
    with ExitStack() as stack:

        def open_client(account: Account) -> tuple[SoundlinkClient, Pacer]:
            return stack.enter_context(
                account_client(
                    server.base_url,
                    account,
                    SECRETS[account.secret_env],
                    tmp_path,
                    tokens=tokens,
                    memory=SchemeMemory(tmp_path, account.name),
                    cancelled=threading.Event(),
                )
            )

        yield open_client


def test_accounts_with_keys_have_limits_of_their_own(open_client: OpenClient, tmp_path: Path) -> None:
    client, default = open_client(Account(key_env="A_KEY"))
    _, other = open_client(Account(name="label_b", key_env="B_KEY", requests_per_hour=30))
    client.ping()
    assert (default.left_this_hour(), other.left_this_hour()) == (599, 30)
    assert {path.name for path in tmp_path.glob("requests*.sqlite")} == {"requests.sqlite", "requests-label_b.sqlite"}


def test_accounts_of_one_client_share_its_limits_and_no_file_names_it(open_client: OpenClient, tmp_path: Path) -> None:
    first, paced = open_client(oauth("label_a", FIRST.account_id))
    second, other = open_client(oauth("label_b", SECOND.account_id))
    assert [len(client.listed(CAMPAIGN).items) for client in (first, second)] == [2, 3]
    assert (paced.left_this_hour(), other.left_this_hour()) == (598, 598)
    names = [path.name for path in tmp_path.glob("*.sqlite")]
    assert len(names) == 2  # one for the API, one for the token endpoint
    assert not any(word in "".join(names) for word in ("agency", "label", SECRETS["AGENCY"]))


def test_accounts_of_one_client_that_are_pulled_side_by_side_are_all_counted(
    server: Simulator, open_client: OpenClient
) -> None:
    accounts = [oauth(f"label_{number}", (FIRST, SECOND)[number % 2].account_id) for number in range(6)]
    clients = [open_client(account) for account in accounts]
    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(client.ping) for client, _ in clients for _ in range(5)]:
            done.result()
    assert {pacer.left_this_hour() for _, pacer in clients} == {570}
    assert server.stats.count(kind="token") == 2


def test_two_clients_and_an_account_of_any_name_never_share_a_file() -> None:
    accounts = [oauth("a", "x"), oauth("a", "x", "other"), Account(key_env="X"), Account(name="a", key_env="X")]
    accounts += [Account(name=file.removesuffix(".sqlite").removeprefix("requests-"), key_env="X") for file in ("b",)]
    files = [requests_file(account) for account in accounts] + [tokens_file(account) for account in accounts[:2]]
    assert len({file.casefold() for file in files}) == len(files)


def test_each_account_remembers_its_own_way_in(server: Simulator, open_client: OpenClient, tmp_path: Path) -> None:
    server.generation = 1
    open_client(Account(key_env="A_KEY"))[0].ping()
    server.generation = 2
    open_client(Account(name="label_b", key_env="B_KEY"))[0].ping()
    found = {path.name: json.loads(path.read_text())[server.base_url] for path in tmp_path.glob("api_scheme*")}
    assert found == {"api_scheme.json": "x-api-key", "api_scheme-label_b.json": "bearer"}


def test_what_is_said_of_a_key_names_its_variable(open_client: OpenClient) -> None:
    with pytest.raises(KeyRefused, match="create a new one and put it into REVOKED"):
        open_client(Account(name="label_b", key_env="REVOKED"))[0].ping()
    where = r"\(not with campaign_ids of account label_c in accounts.toml\)"
    with pytest.raises(ScopeMissing, match=rf"{where}.*put it into METRICS"):
        open_client(Account(name="label_c", key_env="METRICS", file="accounts.toml"))[0].listed(CAMPAIGN)


@pytest.mark.parametrize("account", [Account(name="a", key_env="A_KEY"), oauth("a", FIRST.account_id)])
@pytest.mark.parametrize("secret", ["", "sk_test_Hidden\nPart"])
def test_what_can_be_no_secret_leaves_no_file_and_is_not_shown(tmp_path: Path, account: Account, secret: str) -> None:
    with (
        pytest.raises(ValueError, match=f"^{account.secret_env}") as refused,
        account_client(
            "http://127.0.0.1:1",
            account,
            secret,
            tmp_path,
            tokens=Tokens(),
            memory=SchemeMemory(tmp_path),
            cancelled=threading.Event(),
        ),
    ):
        pass
    assert "Hidden" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_count_says_which_file_it_is(open_client: OpenClient, tmp_path: Path) -> None:
    (tmp_path / "requests-label_b.sqlite").write_bytes(b"no database" * 500)
    with pytest.raises(sqlite3.DatabaseError) as damaged:
        open_client(Account(name="label_b", key_env="B_KEY"))
    assert damaged.value.__notes__ == ["requests-label_b.sqlite"]
