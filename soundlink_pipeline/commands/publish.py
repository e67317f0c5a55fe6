"""`soundlink publish --account NAME`: a file of one account's rows, for those who are to see no other's."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import click

from soundlink_pipeline.commands.execution import loaded_settings
from soundlink_pipeline.commands.outcome import CommandFailed
from soundlink_pipeline.commands.project_folder import enter_project, in_use, require_project
from soundlink_pipeline.models.errors import ModelError
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.publishing.file_copy import NotPublished
from soundlink_pipeline.publishing.one_account import publish_account
from soundlink_pipeline.settings.accounts_file import is_account_name
from soundlink_pipeline.typed import typed
from soundlink_pipeline.wording import counted


def publish_accounts(accounts: tuple[str, ...]) -> None:
    """Publish a file for each account. Raises CommandFailed, click.ClickException."""
    folder = enter_project()
    settings = loaded_settings()
    require_project(folder)
    soundlink = Soundlink(settings, lambda _: None)
    for account in accounts:
        if not is_account_name(account):
            raise click.ClickException(f"{account!r} is no account's name")
    if not soundlink.published_path.exists():
        raise CommandFailed(f"nothing is published yet: {typed('pull --from=DAY --to=DAY')} does it")
    with in_use(folder, "soundlink publish"):
        project = read_project(settings.sql_dir, os.environ)
        for account in accounts:
            target = settings.data_dir / "published" / f"{account}.duckdb"
            try:
                rows = publish_account(
                    soundlink.published_path,
                    target,
                    account,
                    exports=soundlink.warehouse.exports,
                    project=project,
                    run_id="soundlink publish",
                    now=datetime.now(UTC),
                )
            except (NotPublished, ModelError) as error:
                raise CommandFailed(str(error)) from None
            held = sum(rows[export.name] for export in soundlink.warehouse.exports)
            print(f"Published: {target} ({counted(held, 'row')} of {account}, none of another's)", flush=True)
            if not held:
                print(f"{account} has no rows yet: {typed('status')} says when it was last pulled", flush=True)
