"""The API key: what one may look like, the header that carries it, and how it is kept out of everything that is shown.

Text from outside that is shown or stored passes `ApiKey.hide` where the key is known, `without_keys` elsewhere.
"""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Literal
from urllib.parse import quote

Scheme = Literal["x-api-key", "bearer"]

# That of the demo's local API: no secret.
DEMO_KEY = "sk_demo_simulator"
_SHORTEST_SECRET = 8
# What every key of the API looks like, sk_<prefix>_<secret>; in a text, up to a quote or a backslash.
_LIKE_A_KEY = re.compile(r"sk_[!-~]+_[!-~]+")
_KEY_IN_TEXT = re.compile(r"sk_[A-Za-z0-9]+_[!#-\[\]-~]+")
_HIDDEN = "[key]"
_SHOWN_CHARACTERS = 300


class ApiKey:
    """A key, kept only to be sent. Raises ValueError, which does not show it, for text that cannot be one."""

    def __init__(self, key: str) -> None:
        key = key.strip()
        if not key:
            raise ValueError("SOUNDLINK_API_KEY is not set: put your Soundlink API key into .env or the environment")
        if not re.fullmatch(r"[!-~]+", key):
            raise ValueError("SOUNDLINK_API_KEY holds a blank or a character that no key has; was it pasted whole?")
        self.__key = key
        self._forms = _forms(key)

    def __repr__(self) -> str:
        return "ApiKey()"

    def header(self, scheme: Scheme) -> dict[str, str]:
        """The one header of a request that carries it."""
        return {"authorization": f"Bearer {self.__key}"} if scheme == "bearer" else {"x-api-key": self.__key}

    def hide(self, text: str) -> str:
        """`text` without the key, which a server or a proxy may echo, in whatever form it was written."""
        return self._forms.sub(_HIDDEN, text)

    def shown(self, text: str, longest: int = _SHOWN_CHARACTERS) -> str:
        """Text from outside, fit to be shown: without the key, and not too long.

        The key goes first: cut before that, a part of it might be left.
        """
        text = self.hide(text)
        return text if len(text) <= longest else text[: longest - 1] + "…"


def looks_like_a_key(text: str) -> bool:
    return _LIKE_A_KEY.fullmatch(text) is not None


def without_keys(text: str) -> str:
    """`text` without anything that looks like a key of the API."""
    return _KEY_IN_TEXT.sub(_HIDDEN, text)


def _forms(key: str) -> re.Pattern[str]:
    """The key as others may write it: whole or its secret part alone; plain, in a URL, in JSON, HTML or base64."""
    forms = set[str]()
    for text in (key, key.rpartition("_")[2]):
        if len(text) < _SHORTEST_SECRET:
            continue
        encoded = base64.b64encode(text.encode()).decode()
        forms |= {text, quote(text, safe=""), json.dumps(text)[1:-1], text.replace("/", "\\/"), html.escape(text)}
        forms |= {encoded, encoded.rstrip("=")}
    # Longest first, so that none leaves a rest of another.
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))) or "(?!)", re.IGNORECASE)
