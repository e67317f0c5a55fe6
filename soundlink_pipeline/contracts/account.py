"""Accounts: each sees campaigns and soundlinks of its own, and is known by the name that the operator gives it."""

from __future__ import annotations

from typing import Final, NamedTuple

# The one account of a project that names none; also whose everything is that was pulled before there were several.
DEFAULT_ACCOUNT: Final = "default"


class ListedId(NamedTuple):
    """The id of a campaign or soundlink as the API lists it to an account: two may be listed the same id."""

    account: str
    id: str
