"""The report: one self-contained HTML page of a published database.

`python -m soundlink_pipeline.report [--campaign ID_OR_NAME] [--database PATH] [--output PATH]`. Everything the page
shows is in the file: no script, no font, no request. Every number is labelled as final or provisional.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.report.figures import Campaign, UnknownCampaign, find_campaign, has_figures, read_figures
from soundlink_pipeline.report.page import render
from soundlink_pipeline.settings.env_file import read_env_file
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline.typed import typed
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.native_file import NativeFile

# A run that writes holds the warehouse for seconds.
_WAIT_SECONDS = 5.0


class NoReport(Exception):
    """The report cannot be made; the message is one sentence that says why and what to do."""

    exit_code = 1


class BadSetting(NoReport):
    """A setting cannot be read."""

    exit_code = 2


@dataclass(frozen=True)
class Source:
    """What the report is made from, and the folder it goes to. `published`: the file's name; None for the warehouse."""

    where: str
    folder: Path
    connect: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
    published: str | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m soundlink_pipeline.report", description=__doc__)
    parser.add_argument("--campaign", help="a campaign's id or name; without it, all campaigns")
    parser.add_argument(
        "--database", type=Path, help="a published database; without it, soundlink.duckdb of the data folder"
    )
    parser.add_argument("--output", type=Path, help="the file to write; without it, report.html beside the database")
    given = parser.parse_args(arguments)
    return write_report(given.campaign, given.database, given.output)


def write_report(wanted: str | None, database: Path | None, output: Path | None) -> int:
    """Write the page, of one campaign or of all, and say where; or say why not.

    Returns 0; 1 for no page, 2 for a bad setting.
    """
    try:
        source = _file(database) if database else _newest()
        page, campaign = make_report(source, wanted)
        suffix = f"-{re.sub(r'[^A-Za-z0-9-]+', '-', campaign.campaign_id)}" if campaign else ""
        output = output or source.folder / f"report{suffix}.html"
        _write(output, page)
    except NoReport as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if not source.published:
        print(f"Nothing has been published yet, so the report was made from the pipeline's own {source.where}.")
    print(f"Written: {output}. Open it in any browser; it needs no network.")
    return 0


def make_report(source: Source, wanted: str | None = None) -> tuple[str, Campaign | None]:
    """The page, of the campaign with the id or name `wanted` or of all; and that campaign. Raises NoReport."""
    campaign, figures = None, None
    try:
        with source.connect() as connection:
            if has_figures(connection):
                campaign = find_campaign(connection, wanted) if wanted else None
                figures = read_figures(connection, campaign)
    except UnknownCampaign as error:
        raise NoReport(f"In {source.where}, {error}.") from None
    except (WarehouseLocked, WarehouseUnusable) as error:
        raise NoReport(f"The report was not made: {error}.") from error
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        raise NoReport(
            f"{source.where} was made by another version of the pipeline: {typed('rebuild')} makes its models anew."
        ) from error
    except duckdb.Error as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise NoReport(
            f"{source.where} cannot be read ({reason}): if a program has it open for writing, try again when it is"
            " done."
        ) from error
    if figures is None and wanted:
        raise NoReport(f"{source.where} holds no campaign yet: {typed('pull --from=… --to=…')} pulls them.")
    return render(campaign, figures, source.published), campaign


def _file(path: Path) -> Source:
    if not path.is_file():
        raise NoReport(
            f"There is no database {path}: {typed('demo')} or {typed('pull')} makes one, or name it with --database."
        )
    return Source(str(path), path.parent, lambda: read_published(path), path.name)


def _newest() -> Source:
    """The data folder's published database, else the pipeline's own. Settings are read as Dagster reads them."""
    try:
        settings = settings_from({**read_env_file(), **os.environ})
    except ValueError as error:
        raise BadSetting(f"The report was not made: {error}.") from None
    published, warehouse = settings.data_dir / "soundlink.duckdb", NativeFile(settings.data_dir)
    if published.exists() or not warehouse.exists():
        return _file(published)
    return Source(warehouse.describe().where, settings.data_dir, lambda: warehouse.read(_WAIT_SECONDS))


def _write(output: Path, page: str) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise NoReport(f"{output} cannot be written ({error.strerror}): name another file with --output.") from error


if __name__ == "__main__":
    sys.exit(main())
