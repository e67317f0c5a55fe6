"""The receivers of messages that a setting names: webhooks, and services under the URLs that Apprise knows.

Each URL is a secret, and no error shows it. Whether Apprise knows a service is not looked up here: the library takes
long to load, and `make doctor` and the first message say so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

ALERT_URL = "SOUNDLINK_ALERT_URL"
MARKETING_ALERT_URL = "SOUNDLINK_MARKETING_ALERT_URL"
REPORT_URL = "SOUNDLINK_REPORT_URL"
# Every setting that names receivers.
RECEIVER_SETTINGS = (ALERT_URL, MARKETING_ALERT_URL, REPORT_URL)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://[^\s]+", re.IGNORECASE)


@dataclass(frozen=True)
class Receiver:
    """One receiver: its URL, which is a secret, and the setting that names it."""

    url: str = field(repr=False)
    setting: str

    @property
    def is_webhook(self) -> bool:
        """Whether it takes JSON over HTTP as it is; everything else is a service that Apprise knows."""
        return self.url.lower().startswith(("http://", "https://"))


def receivers_of(setting: str, text: str | None) -> tuple[Receiver, ...]:
    """The receivers in a setting's text, which has blanks between their URLs; none where it is empty.

    Raises ValueError for a URL that cannot be one: one sentence that names the setting and shows nothing of it.
    """
    return tuple(Receiver(_checked(setting, url), setting) for url in (text or "").split())


def _checked(setting: str, text: str) -> str:
    found = _SCHEME.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{setting} must be a URL such as https://hooks.slack.com/services/… or mailtos://… (it is not shown: it is"
            " a secret)"
        )
    if found[1].lower() not in ("http", "https"):
        return text
    # Not at the top: without httpx the definitions load a fifth faster.
    from soundlink_pipeline.settings.urls import checked_webhook  # noqa: PLC0415

    return str(checked_webhook(setting, text))
