"""What is said of accounts that have ids in common."""

from __future__ import annotations

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.soundlinks import SOUNDLINK
from soundlink_pipeline.orchestration.open_accounts import said_of_shared
from soundlink_pipeline.settings.accounts import Account

ACME, BOLT = (Account(name=name, key_env=f"{name}_KEY", file="accounts.toml") for name in ("acme", "bolt"))
NAMING_ACME, NAMING_BOLT = (
    Account(name=name, key_env="X", file="accounts.toml", campaign_ids=("camp_1", "camp_2"))
    for name in ("acme", "bolt")
)


def test_accounts_that_list_the_same_are_asked_whether_they_are_of_one_organization() -> None:
    said = said_of_shared(CAMPAIGN, ACME, BOLT, {"camp_1", "camp_2"})
    assert said == (
        "accounts acme and bolt list the same campaigns (2 campaigns): are both of one organization? Each is asked for"
        " twice"
    )
    assert "one organization" in said_of_shared(SOUNDLINK, NAMING_ACME, NAMING_BOLT, {"x"})  # of these none is named


def test_of_ids_that_the_file_names_no_organization_is_concluded() -> None:
    assert said_of_shared(CAMPAIGN, NAMING_ACME, NAMING_BOLT, {"camp_1"}) == (
        "campaign_ids of account acme in accounts.toml and campaign_ids of account bolt in accounts.toml name the same:"
        " campaign camp_1. Each is asked for twice; name it for one account only"
    )
    for one, other in ((NAMING_ACME, BOLT), (BOLT, NAMING_ACME)):
        assert said_of_shared(CAMPAIGN, one, other, {"camp_2", "camp_1"}) == (
            "account bolt lists what campaign_ids of account acme in accounts.toml names, too: campaigns camp_1 and"
            " camp_2. Each is asked for twice"
        )
    many = said_of_shared(CAMPAIGN, NAMING_ACME, BOLT, {f"camp_{number}" for number in range(1, 1008)})
    assert ": campaigns camp_1, camp_10, camp_100, camp_1000, camp_1001 and 1,002 more. " in many
