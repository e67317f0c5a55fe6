"""The accounts of an accounts file: whether the API takes the key or gives a token, with one ping for each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from soundlink_pipeline.api.errors import SoundlinkError
from soundlink_pipeline.api.pacing import Cancelled
from soundlink_pipeline.doctor.finding import Finding, fault, ok, warn
from soundlink_pipeline.doctor.project_state import ProjectState
from soundlink_pipeline.doctor.requesting import LATER, USED_UP, client_of, is_unreachable, uncounted, way_out
from soundlink_pipeline.settings.accounts import Account


def check_accounts(project: ProjectState) -> Iterator[Finding]:
    """A finding for each account; a host that cannot be reached ends them, since it is the same for all."""
    for account in project.settings.accounts:
        try:
            yield _ping(project, account)
        except SoundlinkError as error:
            if is_unreachable(error):
                yield fault("host", str(error), way_out(error))
                return
            yield fault(f"account {account.name}", str(error), "" if error.fatal else "try again later")


def _ping(project: ProjectState, account: Account) -> Finding:
    """Whether a ping succeeds. Raises SoundlinkError where it does not."""
    what, of_oauth = f"account {account.name}", account.client_id is not None
    try:
        with client_of(project, account) as (client, _, _):
            client.ping()
    except Cancelled:
        return warn(what, f"its limits {USED_UP.format('client' if of_oauth else 'key')}", LATER)
    except sqlite3.DatabaseError as error:
        return uncounted(account, error)
    except ValueError as error:
        return fault(what, f"{error}; no request was made for it")
    return ok(what, "gets a token, which is valid" if of_oauth else f"its key is valid; sent as {client.scheme}")
