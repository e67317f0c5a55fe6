"""How the doctor requests anything of the API: with little patience, within the limits shared with the runs."""

from __future__ import annotations

import os
import socket
import sqlite3
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from soundlink_pipeline.api.account_client import account_client, requests_file
from soundlink_pipeline.api.auth import SchemeMemory
from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.errors import NoToken, SoundlinkError, Unreachable
from soundlink_pipeline.api.oauth import Tokens
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.doctor.finding import Finding, fault
from soundlink_pipeline.doctor.project_state import ProjectState
from soundlink_pipeline.settings.accounts import Account, check_secrets

# An operator is waiting: one retry, and short timeouts.
_TRIES = 2
_TIMEOUT = httpx.Timeout(connect=5.0, read=15.0, write=5.0, pool=None)
_LONGEST_WAIT_SECONDS = 5.0
USED_UP = "are used up for now, by a run or by another user of this {}; no further request was made"
LATER = "try again later; a run waits by itself"


@contextmanager
def client_of(project: ProjectState, account: Account) -> Iterator[tuple[SoundlinkClient, Pacer, Path]]:
    """A client of an account, its pacer, and a folder for what is downloaded; Cancelled in place of a long wait.

    Raises ValueError where the secret is missing or cannot be one.
    """
    settings, used_up = project.settings, threading.Event()

    def on_wait(seconds: float) -> None:
        if seconds > _LONGEST_WAIT_SECONDS:
            used_up.set()

    check_secrets([account], project.environment.get)
    with tempfile.TemporaryDirectory(prefix="soundlink-doctor-") as temporary:
        # If the data folder cannot be written to, no run has counted requests there either.
        folder = settings.data_dir if os.access(settings.data_dir, os.W_OK) else Path(temporary)
        with account_client(
            settings.base_url,
            account,
            project.secret_of(account),
            folder,
            tokens=Tokens(),
            memory=SchemeMemory(settings.data_dir, account.name, writes=False),
            cancelled=used_up,
            on_wait=on_wait,
            timeout=_TIMEOUT,
            tries=_TRIES,
            now=project.clock,
        ) as (client, pacer):
            yield client, pacer, Path(temporary)


def uncounted(account: Account, error: sqlite3.DatabaseError) -> Finding:
    """The fault of a file that counts requests."""
    fix = "delete it: it holds only the count of the last hour's requests"
    if isinstance(error, sqlite3.OperationalError):  # the file is intact, but cannot be written to
        fix = "see the data folder above: is the disk full, or may this user not write there? Do not delete the file"
    file = next(iter(getattr(error, "__notes__", ())), requests_file(account))  # the pacer's note
    return fault(file, f"requests cannot be counted: {error}", fix)


def is_unreachable(error: SoundlinkError) -> bool:
    """Whether the host gave no whole answer, to the request or to the one for a token."""
    return isinstance(error.reason if isinstance(error, NoToken) else error, Unreachable)


def way_out(error: BaseException | None) -> str:
    """What to do about a host that cannot be reached, from the innermost error."""
    while error is not None:
        match error:
            case socket.gaierror():
                return "its name cannot be resolved: check SOUNDLINK_BASE_URL, the network and its DNS"
            case ConnectionRefusedError():
                return "it refuses connections: check SOUNDLINK_BASE_URL, and whether a firewall blocks them"
            case ssl.SSLError():
                return "its certificate is not trusted: check for a proxy in between, and this machine's clock"
        error = error.__cause__ or error.__context__
    return "check the network; if other hosts can be reached, try again later"
