"""Credentials, above all the API key: what one may look like, and how it is kept out of everything that is shown.

Text from outside that is shown or stored passes `Credential.hide` where the secret is known, `without_keys` elsewhere.
"""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Literal
from urllib.parse import quote

from soundlink_pipeline.contracts.account import HIDDEN_KEY, KEY_IN_TEXT
from soundlink_pipeline.settings.accounts import Account

Scheme = Literal["x-api-key", "bearer"]

# That of the demo's local API: no secret.
DEMO_KEY = "sk_demo_simulator"
_SHORTEST_SECRET = 8
# What every key of the API looks like, sk_<prefix>_<secret>.
_LIKE_A_KEY = re.compile(r"sk_[!-~]+_[!-~]+")
_KEY_IN_TEXT = re.compile(KEY_IN_TEXT)
_SHOWN_CHARACTERS = 300


class Credential:
    """What gives access, kept only to be sent, and the sentences that errors say of it.

    `holder` is what has the scopes, `whose` the organization it is for, `wider` how it gets another scope;
    `ids_setting` names the campaigns that need not be listed.
    """

    holder: str
    whose: str
    wider: str
    ids_setting: str

    def __init__(self, secret: str) -> None:
        self._forms: tuple[re.Pattern[str], ...] = (forms_of(secret),)

    def refusal(self, code: str) -> str:
        """What it means that the API refuses it with 401 and this code, and what to do."""
        raise NotImplementedError

    def hide(self, text: str) -> str:
        """`text` without the secret, which a server or a proxy may echo, in whatever form it was written."""
        for forms in self._forms:
            text = forms.sub(HIDDEN_KEY, text)
        return text

    def shown(self, text: str, longest: int = _SHOWN_CHARACTERS) -> str:
        """Text from outside, fit to be shown: without the secret, and not too long.

        The secret goes first: cut before that, a part of it might be left.
        """
        text = self.hide(text)
        return text if len(text) <= longest else text[: longest - 1] + "…"


class ApiKey(Credential):
    """The key of an account, by default of the one that the settings are.

    Raises ValueError, which does not show it, for text that cannot be one.
    """

    holder = "the API key"
    whose = "this key's organization"

    def __init__(self, key: str, account: Account | None = None) -> None:
        key, account = key.strip(), account or Account()
        variable = account.secret_env
        if not key:
            raise ValueError(f"{variable} is not set: put your Soundlink API key into .env or the environment")
        if not re.fullmatch(r"[!-~]+", key):
            raise ValueError(f"{variable} holds a blank or a character that no key has; was it pasted whole?")
        super().__init__(key)
        self.__key = key
        self._variable = variable
        self._auth_setting, self.ids_setting = account.called("auth"), account.called("campaign_ids")
        self.wider = f"A key's scopes never change: create a new key, and put it into {variable}"

    def __repr__(self) -> str:
        return "ApiKey()"

    def header(self, scheme: Scheme) -> dict[str, str]:
        """The one header of a request that carries it."""
        return {"authorization": f"Bearer {self.__key}"} if scheme == "bearer" else {"x-api-key": self.__key}

    def refusal(self, code: str) -> str:
        anew = f"create a new one and put it into {self._variable}"
        return {
            "invalid_api_key": f"the API does not know this key; check {self._variable}",
            "invalid_token": "the API does not accept this key as a token; check"
            f" {self._variable} and {self._auth_setting}",
            "api_key_revoked": f"this API key was revoked; {anew}",
            "api_key_expired": f"this API key has expired; {anew}",
        }.get(code, "the API refuses the key")


def looks_like_a_key(text: str) -> bool:
    return _LIKE_A_KEY.fullmatch(text) is not None


def without_keys(text: str) -> str:
    """`text` without anything that looks like a key of the API."""
    return _KEY_IN_TEXT.sub(HIDDEN_KEY, text)


def forms_of(secret: str) -> re.Pattern[str]:
    """A secret as others may write it: whole or its secret part alone; plain, in a URL, in JSON, HTML or base64."""
    forms = set[str]()
    for text in (secret, secret.rpartition("_")[2]):
        if len(text) < _SHORTEST_SECRET:
            continue
        encoded = base64.b64encode(text.encode()).decode()
        forms |= {text, quote(text, safe=""), json.dumps(text)[1:-1], text.replace("/", "\\/"), html.escape(text)}
        forms |= {encoded, encoded.rstrip("=")}
    # Longest first, so that none leaves a rest of another.
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))) or "(?!)", re.IGNORECASE)
