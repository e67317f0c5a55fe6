"""The accounts file: each setting is read, each fault is one sentence with file and line, and no secret is shown."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.settings.accounts import Account, check_secrets
from soundlink_pipeline.settings.accounts_file import SETTINGS
from soundlink_pipeline.settings.settings import Settings, settings_from
from soundlink_pipeline.settings.toml_lines import lines_of
from soundlink_pipeline_tests.support.project import REPOSITORY

TODAY = date(2026, 3, 2)
UUID, OTHER = "a7ac3173-2f71-4e79-921f-d15d7112dd11", "b7ac3173-2f71-4e79-921f-d15d7112dd11"
KEY = "[accounts.a]\nkey_env = 'A_KEY'\n"
OAUTH = f"[accounts.o]\nclient_id = 'agency'\nclient_secret_env = 'O_SECRET'\norganization_id = '{UUID}'\n"
SECOND_OAUTH = OAUTH.replace("accounts.o", "accounts.p").replace(UUID, OTHER)
SECRET = "sk_live_Hidden0Part"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "the accounts.toml"


def read(file: Path, text: str | bytes, **environment: str) -> tuple[Account, ...]:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return settings_from({"SOUNDLINK_ACCOUNTS": str(file), **environment}, today=TODAY).accounts


def test_without_a_file_the_settings_are_one_account() -> None:
    (account,) = settings_from(
        {
            "SOUNDLINK_CAMPAIGN_IDS": "a,b",
            "SOUNDLINK_AUTH": "bearer",
            "SOUNDLINK_START_DATE": "2026-02-01",
            "SOUNDLINK_REQUESTS_PER_HOUR": "30",
        }
    ).accounts
    assert account == Account(
        name="default",
        key_env="SOUNDLINK_API_KEY",
        campaign_ids=("a", "b"),
        auth="bearer",
        start_date=date(2026, 2, 1),
        requests_per_hour=30,
    )
    assert Settings(campaign_ids=("a",)).accounts[0].campaign_ids == ("a",)


def test_each_setting_of_an_account_is_read_and_others_are_those_of_all(file: Path) -> None:
    text = f"""
        [accounts.label_a]
        key_env = "LABEL_A_KEY"
        organization_id = "{OTHER}"
        campaign_ids = ["camp_1", "camp_2"]
        soundlink_ids = ["-x"]
        requests_per_minute = 30
        requests_per_hour = 300
        start_date = 2026-03-01
        auth = "x-api-key"

        [accounts.Label-B]
        client_id = "agency"
        client_secret_env = "AGENCY_SECRET"
        organization_id = "{UUID}"
        start_date = "2026-02-02"
    """
    first, second = read(file, text, SOUNDLINK_START_DATE="2026-02-01", SOUNDLINK_REQUESTS_PER_MINUTE="40")
    assert first == Account(
        name="label_a",
        key_env="LABEL_A_KEY",
        organization_id=OTHER,
        campaign_ids=("camp_1", "camp_2"),
        soundlink_ids=("-x",),
        requests_per_minute=30,
        requests_per_hour=300,
        start_date=date(2026, 3, 1),
        auth="x-api-key",
    )
    assert second == Account(
        name="Label-B",
        client_id="agency",
        client_secret_env="AGENCY_SECRET",
        organization_id=UUID,
        requests_per_minute=40,
        start_date=date(2026, 2, 2),
        auth="bearer",
    )
    assert (first.secret_env, second.secret_env) == ("LABEL_A_KEY", "AGENCY_SECRET")


def test_the_file_of_the_project_folder_is_read_without_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "accounts.toml").write_text(KEY, encoding="utf-8-sig")  # a byte order mark hides nothing
    assert [account.name for account in settings_from({}).accounts] == ["a"]


def test_the_example_can_be_read_and_shows_each_setting_but_the_keys_header() -> None:
    example = REPOSITORY / "accounts.example.toml"
    accounts = settings_from({"SOUNDLINK_ACCOUNTS": str(example)}).accounts
    assert [account.name for account in accounts] == ["default", "label_a", "label_b"]
    assert [name for name in SETTINGS if f"\n{name} = " not in example.read_text()] == ["auth"]


def test_each_setting_of_an_account_is_documented() -> None:
    text = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
    assert [name for name in SETTINGS if f"| `{name}` |" not in text] == []


def test_definitions_load_without_any_secret(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(KEY + OAUTH)
    settings = settings_from({"SOUNDLINK_ACCOUNTS": str(file)})
    build_definitions(settings, lambda name: pytest.fail(f"{name} was read"))


@pytest.mark.parametrize("name", ["SOUNDLINK_API_KEY", "SOUNDLINK_AUTH", "SOUNDLINK_CAMPAIGN_IDS"])
def test_what_is_of_one_account_must_not_stand_beside_the_file(file: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"^the setting {name} must not be set beside the file ") as refused:
        read(file, KEY, **{name: "auto" if name == "SOUNDLINK_AUTH" else SECRET})
    assert SECRET not in str(refused.value)
    read(file, KEY, **{name: "  "})


FAULTS = {
    "": (1, "no account is named"),
    "# nothing\n": (1, "no account is named"),
    f"x = 1\n{KEY}": (1, "x is no setting"),
    "\naccounts = 3": (2, r"accounts must be tables \[accounts.NAME\]"),
    "[accounts]\na = 3": (2, r"account a must be a table \[accounts.a\]"),
    "[[accounts.a]]\nkey_env = 'A_KEY'": (1, "account a must be a table"),
    f"{KEY}keyenv = 'B_KEY'": (3, "keyenv of account a is no setting; there are key_env, client_id, "),
    f"{KEY}[accounts.a.more]\nx = 1": (3, "more of account a is no setting"),
    "[accounts.a]\ncampaign_ids = []": (1, "account a has neither key_env nor client_id"),
    f"{KEY}client_id = 'x'": (1, "account a has both key_env and client_id"),
    f"{KEY}client_secret_env = 'X'": (3, "client_secret_env of account a goes with client_id"),
    "[accounts.a]\nclient_id = 'x'\nclient_secret_env = 'X'": (1, "account a .* needs organization_id, too"),
    f"[accounts.a]\nclient_id = 'x'\norganization_id = '{UUID}'": (1, "account a .* needs client_secret_env, too"),
    f"{OAUTH}auth = 'bearer'": (5, "auth of account o is for keys"),
    "[accounts.a]\nkey_env = 3": (2, "key_env of account a must be the name of an environment variable"),
    "[accounts.a]\nkey_env = ''": (2, "key_env of account a must be the name of an environment variable"),
    "[accounts.a]\nkey_env = 'SOUNDLINK_API_KEY'": (2, "key_env of account a names SOUNDLINK_API_KEY, which must not"),
    f"{KEY}organization_id = 'x'": (3, "organization_id of account a must be a UUID"),
    f"{KEY}campaign_ids = 'camp_1'": (3, "campaign_ids of account a must be a list of ids"),
    f"{KEY}soundlink_ids = [\n 'x',\n 3,\n]": (3, "soundlink_ids of account a must be a list of ids"),
    f"{KEY}requests_per_minute = 0": (3, "requests_per_minute of account a must be a whole number from 1 to"),
    f"{KEY}requests_per_minute = true": (3, "requests_per_minute of account a must be a whole number from 1 to"),
    f"{KEY}requests_per_hour = 1.5": (3, "requests_per_hour of account a must be a whole number from 1 to"),
    f"{KEY}requests_per_hour = {10**30}": (3, "requests_per_hour of account a must be a whole number from 1 to"),
    f"{KEY}start_date = 'soon'": (3, "start_date of account a must be a day such as 2026-01-01"),
    f"{KEY}start_date = 2026-02-02T00:00:00Z": (3, "start_date of account a must be a day such as 2026-01-01"),
    f"{KEY}start_date = 9999-12-31": (3, "start_date of account a is later than today"),
    f"{KEY}start_date = 2026-03-03": (3, r"start_date of account a is later than today \(2026-03-02 in UTC\)"),
    f"{KEY}requests_per_minute = 61\nrequests_per_hour = 60": (
        3,
        "requests_per_minute of account a is greater than its",
    ),
    f"{KEY}requests_per_minute = 700": (
        3,
        r"requests_per_minute of account a is greater than its requests_per_hour \(600\)",
    ),
    f"{KEY}campaign_ids = ['a,b']": (3, "campaign_ids of account a has an id with a comma or a blank in it"),
    f"{KEY}soundlink_ids = ['a', 'b c']": (3, "soundlink_ids of account a has an id with a comma or a blank in it"),
    f"{KEY}campaign_ids = ['a\u00a0b']": (3, "campaign_ids of account a has an id with a comma or a blank in it"),
    "[accounts.a]\nkey_env = 'PATH'": (2, "key_env of account a names PATH, which holds no secret"),
    "[accounts.a]\nkey_env = 'SOUNDLINK_ALERT_URL'": (
        2,
        "key_env of account a names SOUNDLINK_ALERT_URL, a setting of",
    ),
    "[accounts.a]\nkey_env = 'LC_ALL'": (2, "key_env of account a names LC_ALL, which holds no secret"),
    "[accounts.a]\nkey_env = 'SOUNDLINK_BASE_URL'": (
        2,
        "key_env of account a names SOUNDLINK_BASE_URL, a setting of the pipeline",
    ),
    OAUTH.replace("O_SECRET", "HOME"): (3, "client_secret_env of account o names HOME, which holds no secret"),
    f"{KEY}start_date = 2025-12-31": (3, r"start_date of account a is before SOUNDLINK_START_DATE.*\(2026-01-01\)"),
    f"{KEY}auth = 'basic'": (3, "auth of account a must be one of auto, x-api-key, bearer"),
    f"{KEY}\n[accounts.'b/c']\nkey_env = 'B_KEY'": (4, "an account's name must be 1 to 63 letters"),
    "[accounts.'']\nkey_env = 'B_KEY'": (1, "an account's name must be"),
    "[accounts.'..']\nkey_env = 'B_KEY'": (1, "an account's name must be"),
    "[accounts.é]\nkey_env = 'B_KEY'": (1, "this is not TOML"),
    "[accounts.'é']\nkey_env = 'B_KEY'": (1, "an account's name must be"),
    f"{KEY}[accounts.A]\nkey_env = 'B_KEY'": (3, "accounts a and A differ in upper and lower case only"),
    f"{KEY}[accounts.b]\nkey_env = 'A_KEY'": (4, "key_env of account b names the variable of account a, too"),
    f"{KEY}organization_id = '{UUID}'\n{OAUTH.replace(UUID, UUID.upper())}": (
        7,
        "organization_id of account o is that of account a, too",
    ),
    OAUTH + SECOND_OAUTH.replace("O_SECRET", "P_SECRET"): (7, "client_secret_env of account p must be that of"),
    f"{OAUTH}{SECOND_OAUTH}requests_per_hour = 30": (9, "requests_per_hour of account p must be that of account o"),
    OAUTH + SECOND_OAUTH.replace("agency", "other"): (7, "client_secret_env of account p names the variable of acc"),
    "[accounts.a\nkey_env = 'A_KEY'": (1, "this is not TOML: "),
    f"{KEY}{KEY}": (3, r"this is not TOML: Cannot declare twice$"),
    f"{KEY}key_env = 'A_KEY'": (3, "this is not TOML: Cannot overwrite a value$"),
    f"{KEY}campaign_ids = [\n'x'": (4, "this is not TOML: "),
    f"{KEY}start_date = 2026-02-30": (3, "this is not TOML: "),
    f"{KEY}# \x00": (3, "this is not TOML: "),
}


@pytest.mark.parametrize("text", FAULTS, ids=range(len(FAULTS)))
def test_each_fault_is_one_sentence_with_file_and_line(file: Path, text: str) -> None:
    line, words = FAULTS[text]
    with pytest.raises(ValueError, match=rf"^\S+/the accounts.toml, line {line}: {words}") as refused:
        read(file, text)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "9" * 5000,
        "x = " + "[" * 5000 + "]" * 5000,
        "x = [\n" * 5000,
        "x = " + "[\n" * 5000 + "]\n" * 5000,
        ".".join("a" * 5000) + " = 1",
        f"[{'.'.join('a' * 5000)}]",
    ],
    ids=["digits", "arrays", "open arrays", "arrays by line", "a dotted key", "a dotted header"],
)
def test_what_the_parser_itself_cannot_bear_is_a_sentence_too(file: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"the accounts.toml, line [34]: this is not TOML"):
        read(file, f"{KEY}{text}\n\n# the end\n")


BROKEN: dict[str, tuple[int, str | bytes]] = {
    "a text without an end": (3, f"{KEY}auth = 'auto"),
    "a long text without an end": (4, f'{KEY}auth = """\nauto'),
    "an unknown escape": (3, f'{KEY}auth = "\\q"'),
    "half a character": (3, f'{KEY}auth = "\\ud800"'),
    "no such day": (3, f"{KEY}start_date = 2026-02-30"),
    "no such month": (3, f"{KEY}start_date = 2026-13-01"),
    "a control character": (3, f"{KEY}auth = '\x07'"),
    "bytes of Latin-1": (3, KEY.encode() + "# ä".encode("latin-1")),
    "UTF-16": (1, KEY.encode("utf-16")),
    "bytes of Latin-1 after a mark and other line ends": (
        3,
        b"\xef\xbb\xbf" + KEY.encode().replace(b"\n", b"\r\n") + b"\xe4",
    ),
    "two marks": (1, b"\xef\xbb\xbf" * 2 + KEY.encode()),
    "a key without a value after other line ends": (3, f"{KEY}auth =".replace("\n", "\r\n")),
    "line ends of old": (3, f"{KEY}auth =".replace("\n", "\r")),
    "a value that becomes a table": (3, f"{KEY}[accounts.a.key_env]\nx = 1"),
    "a table in line that goes on": (2, "accounts = { a = { key_env = 'A_KEY' } }\n[accounts.b]"),
    "a list of tables that becomes a table": (3, "[[accounts.a]]\nkey_env = 'A_KEY'\n[accounts.a]"),
    "a table that becomes a list of tables": (3, f"{KEY}[[accounts.a]]"),
    "a list of accounts": (1, "[[accounts]]\nkey_env = 'A_KEY'"),
    "twice the same in a line": (3, f"{KEY}x = {{ a = 1, a = 2 }}"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_each_kind_of_broken_file_is_one_sentence_with_file_and_line(file: Path, kind: str) -> None:
    line, content = BROKEN[kind]
    with pytest.raises(ValueError, match=rf"^\S+/the accounts.toml, line {line}: ") as refused:
        read(file, content)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"[accounts.a]\nkey_env = '{SECRET}'",
        "[accounts.a]\nkey_env = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'",
        "[accounts.a]\nkey_env = 'Hidden0Part'",
        f"[accounts.a]\nkey = '{SECRET}'",
        f"[accounts.a]\n{SECRET} = 'A_KEY'",
        f"[accounts.{SECRET}]\nkey_env = 'A_KEY'",
        f"[accounts.{SECRET}]\n[accounts.{SECRET}]",
        f"{KEY}{SECRET}",
        f"{KEY}auth = '{SECRET}'",
        f"{KEY}start_date = '{SECRET}'",
        f"{KEY}organization_id = '{SECRET}'",
        f"{KEY}campaign_ids = ['{SECRET}']",
        f"{SECRET} = 1",
        f"[accounts.a]\nclient_id = '{SECRET}'",
        f"[accounts.a]\nclient_secret_env = '{SECRET}'\nclient_id = 'x'",
        f"a = {{ '{SECRET}' = 1, '{SECRET}' = 2 }}",
        f'{KEY}campaign_ids = ["\\{SECRET}"]',
    ],
)
def test_a_secret_that_was_pasted_into_the_file_is_never_shown(file: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"the accounts\.toml, line ") as refused:
        read(file, text)
    assert "hidden0part" not in str(refused.value).lower()
    assert "jbsw" not in str(refused.value).lower()


def test_a_file_that_cannot_be_read_is_a_sentence(file: Path) -> None:
    setting = {"SOUNDLINK_ACCOUNTS": str(file)}
    with pytest.raises(ValueError, match=r"^the setting SOUNDLINK_ACCOUNTS cannot be read .*there is no such file$"):
        settings_from(setting)
    file.write_bytes("[accounts.ä]".encode("latin-1"))
    with pytest.raises(ValueError, match=r"the accounts.toml, line 1: this is not text in UTF-8; save"):
        settings_from(setting)
    file.unlink()
    file.mkdir()
    with pytest.raises(ValueError, match=r"the accounts.toml cannot be read: it is not a file$"):
        settings_from(setting)


def test_an_organization_id_in_another_case_is_told_and_read_as_if_it_were_in_lower_case(file: Path) -> None:
    (account,) = read(file, OAUTH.replace(UUID, UUID.upper()))
    assert account.organization_id == UUID
    assert "line 4: organization_id of account o is not in lower case" in account.notice
    assert read(file, OAUTH)[0].notice == ""


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_secret_is_a_sentence_with_file_and_line(file: Path, value: str | None) -> None:
    accounts = read(file, f"# first\n{KEY}{OAUTH}")
    secrets: dict[str, str | None] = {"A_KEY": "x", "O_SECRET": "y"}
    check_secrets(accounts, secrets.get)
    for name, line in (("A_KEY", 3), ("O_SECRET", 6)):
        with pytest.raises(ValueError, match=rf"the accounts.toml, line {line}: account \w needs the .* {name}, which"):
            check_secrets(accounts, {**secrets, name: value}.get)


def test_all_missing_secrets_are_told_at_once_and_each_once(file: Path) -> None:
    text = f"{KEY}{KEY.replace('accounts.a', 'accounts.b').replace('A_KEY', 'B_KEY')}{OAUTH}{SECOND_OAUTH}"
    with pytest.raises(ValueError, match="A_KEY") as missing:
        check_secrets(read(file, text), {"B_KEY": "x"}.get)
    assert str(missing.value) == (
        f"{file}, line 2: account a needs the environment variable A_KEY, which is not set or is empty;"
        f" {file}, line 7: account o needs the environment variable O_SECRET, which is not set or is empty"
    )


def test_what_works_is_read(file: Path) -> None:
    (account,) = read(file, f"{KEY}start_date = {TODAY}\nrequests_per_minute = 600")
    assert (account.start_date, account.requests_per_minute) == (TODAY, 600)
    (account,) = read(file, f"{KEY}requests_per_hour = 30")  # fewer than an hour's minutes would allow
    assert account.requests_per_hour == 30
    read(file, KEY.replace("A_KEY", "SOUNDLINK_KEY_OF_A"))
    read(file, KEY.replace("A_KEY", "HOME_KEY"))
    read(file, KEY.replace("A_KEY", "LC_KEY"))


def test_lines_are_those_of_the_beginning_of_each_statement() -> None:
    text = """# a comment
        a = [  # ]
          "]",
          "b = 1",
        ]
        b.c = '''
        d = 2
        '''
        [t."x y"]
        e = { f = 1 }
        [t.z]  # [other]
        g = "#"
    """
    assert lines_of(text.replace("\n", "\r\n")) == {
        ("a",): 2,
        ("b",): 6,
        ("b", "c"): 6,
        ("t",): 9,
        ("t", "x y"): 9,
        ("t", "x y", "e"): 10,
        ("t", "x y", "e", "f"): 10,
        ("t", "z"): 11,
        ("t", "z", "g"): 12,
    }


def test_a_long_list_of_ids_is_read_in_no_time(file: Path) -> None:
    ids = [f"camp_{number}" for number in range(20_000)]
    listed = ",\n".join(f'"{one}"' for one in ids)
    (account,) = read(file, f"{KEY}campaign_ids = [\n{listed}\n]")
    assert account.campaign_ids == tuple(ids)
