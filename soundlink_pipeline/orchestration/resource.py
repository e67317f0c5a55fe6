"""The one resource the assets share: the Soundlink accounts as configured, with client, landing and warehouse.

Dagster knows it under two keys. Steps that write, or request anything, ask for `soundlink`: their run has its turn from
its first step to its last. READER is for those that may look at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.orchestration.orphaned_runs import host_tag
from soundlink_pipeline.orchestration.run_tags import own_tags
from soundlink_pipeline.orchestration.turn import turn
from soundlink_pipeline.orchestration.unevaluated_checks import report_unevaluated
from soundlink_pipeline.pulling.progress import Progress
from soundlink_pipeline.settings.accounts import Account, check_secrets
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.accounts import ExpectedAccount
from soundlink_pipeline.warehouse.native_file import NativeFile

if TYPE_CHECKING:
    from soundlink_pipeline.api.client import SoundlinkClient
    from soundlink_pipeline.api.errors import ScopeMissing
    from soundlink_pipeline.api.oauth import Tokens

Log = Callable[[str], None]
# The key of the resource without a turn; `soundlink` is the key of the one with it.
READER = "soundlink_reader"


class Soundlink:
    """Settings, and what is made of them.

    `read_secret` returns the environment variable that an account names. It is called when a step sends its first
    request, not before. `progress` is that of the step that pulls now, or pulled last, in this process. `refusals` are
    the listings that a run's steps were refused for want of a scope: by the run's id, account and subject.
    """

    def __init__(self, settings: Settings, read_secret: Callable[[str], str | None]) -> None:
        self.settings = settings
        self.landing = Landing(settings.data_dir)
        self.warehouse = NativeFile(settings.data_dir)
        self.published_path = settings.data_dir / "soundlink.duckdb"
        self.progress = Progress()
        self.refusals: dict[tuple[str, str, str], ScopeMissing] = {}
        self._read_secret = read_secret
        self._tokens: Tokens | None = None
        self._making_tokens = threading.Lock()

    def __repr__(self) -> str:
        return f"Soundlink({self.settings!r})"

    @contextmanager
    def connect(self, log: Log, account: Account | None = None) -> Iterator[tuple[SoundlinkClient, Pacer]]:
        """A client of an account for one step, within the limits that all processes with this data directory share.

        Without `account` it is that of the first one. First the warehouse is brought to the present contract. Raises
        WarehouseUnusable if it cannot be, and ValueError where the secret of any account is missing: before any
        request; WarehouseLocked.
        """
        self.prepare(log)
        with self.client_of(account or self.settings.accounts[0], log) as made:
            yield made

    def prepare(self, log: Log) -> None:
        """Bring the warehouse to the present contract, and look whether all secrets are there: before any request.

        Raises WarehouseUnusable, WarehouseLocked, ValueError.
        """
        for change in self.warehouse.prepare():
            log(f"{self.warehouse.describe().name} brought to the present contract: {change}")
        check_secrets(self.settings.accounts, self._read_secret)

    @contextmanager
    def client_of(self, account: Account, log: Log) -> Iterator[tuple[SoundlinkClient, Pacer]]:
        """A client of an account; the warehouse is prepared. Raises ValueError for a secret that cannot be one."""
        if account.notice:
            log(account.notice)
        with self._client(account, log=log) as made:
            yield made

    @contextmanager
    def quick_client_of(self, account: Account) -> Iterator[tuple[SoundlinkClient, Pacer]]:
        """As `client_of`, for what is worth no wait: asks once, and raises Cancelled where the limits have no room."""
        with self._client(account, tries=1, waits=False) as made:
            yield made

    @contextmanager
    def _client(self, account: Account, **options: Any) -> Iterator[tuple[SoundlinkClient, Pacer]]:
        # Not at the top: httpx is a fifth of what loading the definitions costs, and only a run sends requests.
        from soundlink_pipeline.api.account_client import account_client  # noqa: PLC0415
        from soundlink_pipeline.api.auth import SchemeMemory  # noqa: PLC0415

        settings = self.settings
        with account_client(
            settings.base_url,
            account,
            self._read_secret(account.secret_env) or "",
            settings.data_dir,
            tokens=self._shared_tokens(),
            memory=SchemeMemory(settings.data_dir, account.name),
            cancelled=threading.Event(),
            on_wait=partial(self._note_wait, account.name),
            **options,
        ) as made:
            yield made

    def _note_wait(self, account: str, seconds: float) -> None:
        name = account if len(self.settings.accounts) > 1 else ""
        self.progress.wait(name, seconds)  # of the step that pulls now

    @property
    def expected_accounts(self) -> list[ExpectedAccount]:
        """The accounts of the settings, for the warehouse."""
        first = self.settings.start_date
        return [
            ExpectedAccount(of.name, of.organization_id, of.start_date if of.start_date > first else None)
            for of in self.settings.accounts
        ]

    def _shared_tokens(self) -> Tokens:
        """The tokens of OAuth, which all steps of a process share: the endpoint gives few of them."""
        from soundlink_pipeline.api.oauth import Tokens  # noqa: PLC0415

        with self._making_tokens:
            self._tokens = self._tokens or Tokens()
            return self._tokens


def resources(soundlink: Soundlink) -> dict[str, object]:
    """What the definitions give to jobs, schedules and sensors, by key."""

    @dg.resource(description="The Soundlink account; a run that uses it waits until no other run does.")
    def in_turn(context: dg.InitResourceContext) -> Iterator[Soundlink]:
        run, instance, log = context.run, context.instance, context.log
        # Not a run: a tick of a schedule, which only reads; or Dagster's result of a run that has ended.
        if run is None or instance is None or log is None or _has_ended(instance, run):
            yield soundlink
            return
        instance.add_run_tags(run.run_id, own_tags(run) | host_tag())

        def note(line: str) -> None:
            soundlink.progress.note = line

        with turn(soundlink.settings.data_dir, run, instance, log.info, note=note):
            note("")
            yield soundlink
        report_unevaluated(instance, run)

    return {"soundlink": in_turn, READER: soundlink}


def _has_ended(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    stored = instance.get_run_by_id(run.run_id)
    return stored is not None and stored.is_finished
