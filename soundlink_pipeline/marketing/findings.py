"""What a rule has found: the campaign, the number, what is usual, and whether it may still change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from soundlink_pipeline.channels.harmless import clean, cut
from soundlink_pipeline.contracts.currencies import decimals
from soundlink_pipeline.contracts.days import SETTLED_AFTER_DAYS

_LONGEST_NAME = 80


@dataclass(frozen=True)
class Finding:
    """One rule, broken by one campaign in one currency.

    `number` and `usual` are sentences about the campaign's own figures. `final_on` is the day on which the last of the
    days behind them is final; None where all are. `facts` are the same for programs. `shares_name`: another campaign
    has its name, so that its id must tell which it is.
    """

    rule: str
    campaign_id: str
    campaign_name: str
    currency: str
    number: str
    usual: str
    final_on: date | None
    facts: dict[str, Any]
    shares_name: bool = False

    @property
    def key(self) -> str:
        return f"{self.rule}/{self.campaign_id}/{self.currency}"

    @property
    def text(self) -> str:
        """The finding in one line; the campaign's name is made harmless."""
        name = cut(clean(self.campaign_name) or self.campaign_id, _LONGEST_NAME)
        if self.shares_name and name != self.campaign_id:
            name += f" ({self.campaign_id})"
        changes = f"may still change until {self.final_on}" if self.final_on else "final"
        return f"{name}: {self.number}. {self.usual} ({changes})."

    def as_facts(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "campaign_id": self.campaign_id,
            "campaign_name": cut(clean(self.campaign_name), _LONGEST_NAME),
            "currency": self.currency,
            "text": self.text,
            "final_on": str(self.final_on) if self.final_on else None,
            **self.facts,
        }


def final_on(last_day: date, *, is_settled: bool) -> date | None:
    return None if is_settled else last_day + timedelta(days=SETTLED_AFTER_DAYS)


def money(amount: Decimal | float, currency: str) -> str:
    """An amount, with two more digits where it is a price below one unit: 0.0312 EUR."""
    places = decimals(currency)
    if 0 < abs(float(amount)) < 1:
        places += 2
    return f"{amount:,.{places}f} {currency}"


def days_of(first: date, last: date) -> str:
    return str(first) if first == last else f"{first} to {last}"
