"""Accounts: each sees campaigns and soundlinks of its own, and is known by the name that the operator gives it."""

from __future__ import annotations

from typing import Final, NamedTuple

# The one account of a project that names none; also whose everything is that was pulled before there were several.
DEFAULT_ACCOUNT: Final = "default"
# A key of the API within a text, as a regular expression: sk_<prefix>_<secret>, up to a quote or a backslash. And what
# is written in its place wherever text from outside is shown or stored.
KEY_IN_TEXT: Final = r"sk_[A-Za-z0-9]+_[!#-\[\]-~]+"
HIDDEN_KEY: Final = "[key]"


class ListedId(NamedTuple):
    """The id of a campaign or soundlink as the API lists it to an account: two may be listed the same id."""

    account: str
    id: str
