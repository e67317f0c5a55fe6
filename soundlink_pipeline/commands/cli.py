"""`soundlink`, the command; `make` calls it, and `python -m soundlink_pipeline.commands.cli` is the same.

Exit codes: 0, 1 (failed; stderr has the sentence alone), 2 (usage, no project here, or a setting that cannot be read)
and 130 (Ctrl-C).
Here are only the words of the command line. What a command does is in the module of its name, imported when it is
called, so that help comes at once.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click

from soundlink_pipeline.commands.outcome import CommandFailed, Interrupted

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130


class _Text(click.ParamType[str]):
    """What the system hands on may be any bytes, which Python keeps as surrogates; no database takes these."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail("it is not text in UTF-8", param, ctx)
        return value


class _Name(_Text):
    """An id or a name. An empty one, as of a variable that is not set, would mean all or any."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.strip():
            self.fail("an id or a name is needed; leave the option out for all", param, ctx)
        return super().convert(value, param, ctx)


class _Path(click.Path):
    """A file or folder. An empty name would be this folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value).strip():
            self.fail("it is empty: a name is needed", param, ctx)
        return Path(str(super().convert(value, param, ctx)))


class _InOrder(click.Group):
    """Lists its commands in the order in which a user needs them, not by the alphabet."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="soundlink-pipeline", message="%(package)s %(version)s")
def soundlink() -> None:
    """Keep a DuckDB warehouse true to Soundlink's exports.

    Commands work on the project in this folder (its .env), or else on ./demo.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise click.ClickException("the folder that this shell is in was deleted: cd to another one") from None


@soundlink.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Where its Soundlink API will be; else the first free one.")
def demo(port: int | None) -> None:
    """Make a project with made-up data in ./demo: no key, no network."""
    from soundlink_pipeline.commands.demo import make_demo  # noqa: PLC0415

    make_demo(port)


@soundlink.command()
@click.argument("folder", type=_Path())
def init(folder: Path) -> None:
    """Make a project in FOLDER: settings, configuration, SQL."""
    from soundlink_pipeline.commands.init import make_project  # noqa: PLC0415

    make_project(folder)


@soundlink.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on. Dagster has no login.")
@click.option("--port", "-p", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.option("--verbose", is_flag=True, help="Show Dagster's own log lines, too.")
def dev(host: str, port: int, *, verbose: bool) -> None:
    """Run the Dagster UI, the schedules and the queue, until Ctrl-C."""
    from soundlink_pipeline.commands.dev import serve  # noqa: PLC0415

    serve(host, port, verbose=verbose)


@soundlink.command()
@click.option("--from", "start", metavar="DAY", help="First report_date, YYYY-MM-DD.")
@click.option("--to", "end", metavar="DAY", help="Last report_date, YYYY-MM-DD.")
@click.option("--days", type=click.IntRange(1), metavar="N", help="Instead: the last N days, up to yesterday.")
@click.option(
    *("--campaign", "campaigns"),
    type=_Name(),
    multiple=True,
    metavar="NAME",
    help="Only this campaign, by id or name; may be repeated.",
)
@click.option("--soundlink", "soundlinks", type=_Name(), multiple=True, metavar="NAME", help="The same of a soundlink.")
@click.option(
    *("--account", "accounts"),
    type=_Name(),
    multiple=True,
    metavar="NAME",
    help="Only this account of the settings; may be repeated.",
)
@click.option("--refetch", is_flag=True, help="Pull settled days again, too.")
@click.option("--accept-smaller", is_flag=True, help="Take answers however few rows they hold.")
@click.option("--verbose", is_flag=True, help="Show Dagster's own log lines instead of progress.")
def pull(
    start: str | None,
    end: str | None,
    days: int | None,
    campaigns: tuple[str, ...],
    soundlinks: tuple[str, ...],
    *,
    accounts: tuple[str, ...],
    refetch: bool,
    accept_smaller: bool,
    verbose: bool,
) -> None:
    """Pull a range of days, build the models and publish.

    Only what is missing or not settled is requested. Ctrl-C keeps what has arrived; the same command goes on from
    there.
    """
    if start is not None and end is not None and days is None:
        wanted: tuple[str, str] | int = (start, end)
    elif start is None and end is None and days is not None:
        wanted = days
    else:
        raise click.UsageError("Give two days, --from and --to, or a number of them, --days.")
    from soundlink_pipeline.commands.pull import pull_days  # noqa: PLC0415
    from soundlink_pipeline.contracts.campaigns import CAMPAIGN  # noqa: PLC0415
    from soundlink_pipeline.contracts.soundlinks import SOUNDLINK  # noqa: PLC0415

    only = {CAMPAIGN: campaigns, SOUNDLINK: soundlinks}
    pull_days(wanted, only, accounts=accounts, refetch=refetch, accept_smaller=accept_smaller, verbose=verbose)


@soundlink.command()
def status() -> None:
    """Show what is loaded and settled, the last run and the next one."""
    from soundlink_pipeline.commands.status import show_status  # noqa: PLC0415

    show_status()


@soundlink.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Find what would make a run fail, and what to do about it."""
    from soundlink_pipeline.commands.project_folder import enter_project, require_project  # noqa: PLC0415
    from soundlink_pipeline.doctor.__main__ import main as examine  # noqa: PLC0415

    require_project(enter_project(), for_runs=False)
    context.exit(examine())


@soundlink.command()
@click.option("--campaign", type=_Name(), metavar="NAME", help="A campaign's id or name; without it, all campaigns.")
@click.option("--database", metavar="FILE", type=_Path(), help="Another published file.")
@click.option("--output", metavar="FILE", type=_Path(), help="Where the page goes.")
@click.option("--send", is_flag=True, help="Send the weekly report to SOUNDLINK_REPORT_URL instead.")
@click.pass_context
def report(
    context: click.Context, campaign: str | None, database: Path | None, output: Path | None, send: bool
) -> None:
    """Write one page of charts beside the published file.

    In a shell, put a name with $ or ' into the other kind of quotes: --campaign 'A$AP', --campaign "Don't Stop".
    """
    from soundlink_pipeline.commands.project_folder import enter_project, require_data  # noqa: PLC0415
    from soundlink_pipeline.report.__main__ import write_report  # noqa: PLC0415

    here = Path.cwd()
    if send:
        if campaign or database or output:
            raise click.UsageError("--send is for the weekly report: it takes no campaign, database or output.")
        require_data(enter_project())
        from soundlink_pipeline.commands.send_report import send_report  # noqa: PLC0415

        context.exit(send_report())
    if database is None:
        require_data(enter_project())
    context.exit(write_report(campaign, database and here / database, output and here / output))


@soundlink.command()
@click.argument("query", required=False, type=_Text())
@click.option(
    "--format", "style", type=click.Choice(["table", "line", "csv", "json"]), default="table", show_default=True
)
def sql(query: str | None, style: str) -> None:
    """Ask the published file in a small shell, or run one QUERY.

    \b
    soundlink sql "from marts.campaign_summary" --format csv > summary.csv
    """
    if query is not None and not query.strip():
        raise click.UsageError("The query is empty; without one, a shell opens.")
    from soundlink_pipeline.commands.sql import ask  # noqa: PLC0415

    ask(query, style)


@soundlink.command()
@click.option("--verbose", is_flag=True, help="Show Dagster's own log lines.")
def rebuild(*, verbose: bool) -> None:
    """Load landed files that the warehouse lacks; build and publish."""
    from soundlink_pipeline.commands.rebuild import rebuild_warehouse  # noqa: PLC0415

    rebuild_warehouse(verbose=verbose)


@soundlink.command()
@click.option(
    *("--account", "accounts"),
    type=_Text(),
    multiple=True,
    required=True,
    metavar="NAME",
    help="An account's name; may be repeated.",
)
def publish(accounts: tuple[str, ...]) -> None:
    """Publish a file of one account's rows alone."""
    from soundlink_pipeline.commands.publish import publish_accounts  # noqa: PLC0415

    publish_accounts(accounts)


@soundlink.command()
@click.option(
    "--to", "target", metavar="TARGET", type=_Text(), help="A folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX."
)
@click.option(
    "--timestamps", type=click.Choice(["utc", "naive"]), help="Adjusted to UTC (BigQuery), or not (Snowflake)."
)
def export(target: str | None, timestamps: Literal["utc", "naive"] | None) -> None:
    """Export the published file as Parquet: the days that changed.

    Without --to it goes where SOUNDLINK_EXPORT_TO says. Credentials of a bucket are read from the environment and .env,
    by the names that docs/parquet.md lists.
    """
    from soundlink_pipeline.commands.export import export_published  # noqa: PLC0415

    export_published(target, timestamps)


@soundlink.command()
@click.option("--verbose", is_flag=True, help="Show Dagster's own log lines.")
def totals(*, verbose: bool) -> None:
    """Compare rows with Soundlink's own totals: a request a campaign."""
    from soundlink_pipeline.commands.totals import compare_all  # noqa: PLC0415

    compare_all(verbose=verbose)


@soundlink.command()
@click.argument("folder", type=_Path())
def backup(folder: Path) -> None:
    """Copy into FOLDER what cannot be had again; runs may go on."""
    from soundlink_pipeline.commands.backup import back_up  # noqa: PLC0415

    back_up(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; every error is told on stderr."""
    _open_streams()
    code = _called(arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would try it once more at its end, and tell that with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code == 0 and not isinstance(error, BrokenPipeError):  # `| head` has enough
            print(f"the output cannot be written ({error.strerror})", file=sys.stderr)
        return code or _FAILED
    return code


def _called(arguments: Sequence[str] | None) -> int:
    try:
        return int(soundlink.main(arguments, prog_name="soundlink", standalone_mode=False) or 0)
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return _INTERRUPTED
    except (click.Abort, KeyboardInterrupt):
        print("Interrupted.", file=sys.stderr)
        return _INTERRUPTED
    except CommandFailed as failure:
        print(failure, file=sys.stderr)
        return _FAILED
    except click.ClickException as error:
        error.show()
        return _USAGE
    except OSError as error:
        # Python does not name the file that a write has failed on.
        what = "the output, or a file," if error.filename is None else error.filename
        print(f"{what} cannot be read or written ({error.strerror or error})", file=sys.stderr)
        return _FAILED


def _open_streams() -> None:
    """Have three streams that take every text.

    One that the caller has closed leads nowhere: a database opened in its place would get what is written to it. A
    character that the output's encoding lacks is written by its number, as Python does on stderr.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  (until the process ends)
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
