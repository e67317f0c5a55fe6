"""Texts from outside made harmless to show: no hidden signs, no mention that calls everybody, nothing of a secret."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

# Unicode's control, format (direction, zero width), surrogate and private characters.
_HIDDEN_KINDS = ("Cc", "Cf", "Cs", "Co")
# Shorter parts are in too many words.
_SHORTEST_SECRET = 5


def clean(text: str) -> str:
    """Without control characters and those that hide or reverse text; other white space becomes spaces."""
    kept = (" " if c.isspace() else "" if unicodedata.category(c) in _HIDDEN_KINDS else c for c in text)
    return "".join(kept).strip()


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def without_mentions(text: str) -> str:
    """Chat servers that show the webhook's text would notify everybody if a campaign's name contained a mention."""
    return re.sub(r"<(?=[!@#])|@(?=channel|here|everyone|all\b)", r"\g<0> ", text, flags=re.IGNORECASE)


def hidden(url: str, text: str) -> str:
    """A text of a server or proxy without the URL and its parts, which it may echo."""
    target = url.partition("://")[2]
    parts = {url, target, "/" + target.partition("/")[2], *re.split(r"[/?&=;:@,\s]", target)}
    parts |= {unquote(part) for part in parts}
    for part in sorted((part for part in parts if len(part) >= _SHORTEST_SECRET), key=len, reverse=True):
        text = re.sub(re.escape(part), "[hidden]", text, flags=re.IGNORECASE)
    return text
