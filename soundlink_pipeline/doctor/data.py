"""The data: whether the newest days are loaded, complete and published; refused and unloaded deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb

from soundlink_pipeline.contracts.days import HEALING_DAYS, DateRange
from soundlink_pipeline.contracts.exports import EXPORTS, SUBJECTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.subject import Subject
from soundlink_pipeline.doctor.dagster_state import run_is_under_way
from soundlink_pipeline.doctor.finding import Finding, Level, fault, first_line, minute, ok, warn
from soundlink_pipeline.doctor.project_state import ProjectState
from soundlink_pipeline.landing.deliveries import Delivery, Listing
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.orchestration.jobs import DAILY_REFRESH, MODELS_AND_PUBLICATION
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.pulling.again import PullAgain
from soundlink_pipeline.quality.completeness import due_day, missing, newest_complete_day
from soundlink_pipeline.typed import typed
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.own_tables import OWN_FILES
from soundlink_pipeline.wording import counted

_SHOWN_FILES = 3


def check_data(project: ProjectState) -> Iterator[Finding]:
    """The exports' newest days, the published file, the quarantine, and landed files that are not loaded."""
    now, landing, warehouse = project.clock(), Landing(project.settings.data_dir), project.warehouse
    quarantine = _quarantine_of(landing)
    unread: Level | None = None  # how bad it is that what is loaded could not be read
    refused, waiting = quarantine.deliveries(), landing.not_archived()
    listings = {subject: quarantine.listings(subject) for subject in SUBJECTS}
    if warehouse.exists():
        try:
            with warehouse.read(0.5) as connection:
                for export in EXPORTS:
                    is_listed = bool(landing.listings(export.subject))
                    yield _newest_day(connection, export, project.settings.start_date, now, is_listed=is_listed)
                yield from _before_the_first_day(connection, project.settings.start_date)
                yield from check_own_files(connection)
                loaded = dict(connection.execute("select delivery_id, received_at from deliveries").fetchall())
                refused = [delivery for delivery in refused if not _has_healed(connection, delivery)]
                listings = {subject: _newer(connection, subject, found) for subject, found in listings.items()}
            waiting = [delivery for delivery in waiting if delivery.delivery_id not in loaded]
            yield from _published(project.settings.data_dir / "soundlink.duckdb", set(loaded), project)
        except WarehouseLocked:
            unread = "ok"
        except (WarehouseUnusable, duckdb.CatalogException):
            unread = "warn"
        if unread:
            yield Finding(unread, "warehouse", "what is loaded is not known, since it cannot be read now; see above")
    elif landed := len(landing.deliveries()):
        message = f"there is no file, but {counted(landed, 'delivery')} landed"
        yield warn("warehouse", message, f"{typed('rebuild')} loads them, without one request")
    else:
        yield ok("warehouse", f"no data yet: {typed('pull --from=… --to=…')} pulls the past")
    yield _quarantine(refused, project.settings.start_date)
    for subject, found in listings.items():
        if found:
            what, path = f"{subject.name} listing", found[-1].path
            message = f"{counted(len(found), what)} in quarantine, and none since: {path}"
            yield warn(what, message, f"read {path}.reason.txt; the next run lists the {subject.plural} anew")
    for folder, why in landing.unreadable_folders().items():
        fix = "give the user that runs the pipeline the right to read it; until then a rebuild fails"
        yield fault("landed files", f"those in {folder} cannot be seen ({why})", fix)
    yield _landed(len(landing.deliveries()), len(waiting), unread, is_there=warehouse.exists())


def check_own_files(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """What the last publication found in the folder of analysts' own files; nothing where there was none."""
    try:
        files = connection.execute(f"select file, problem from {OWN_FILES.name} order by file").fetchall()
    except duckdb.CatalogException:  # from a version before
        return
    unread = [f"{file}: {problem}" for file, problem in files if problem]
    if unread:
        fix = "mend or remove the file: the next publication reads it; until then what was read of it before stays"
        yield warn("own files", f"{counted(len(unread), 'file')} not read: {'; '.join(unread[:_SHOWN_FILES])}", fix)
    elif files:
        yield ok("own files", f"{counted(len(files), 'file')} read")


def _landed(landed: int, waiting: int, unread: Level | None, *, is_there: bool) -> Finding:
    """How many of the landed deliveries are `waiting` to be loaded, if the warehouse is there and could be read."""
    what = "landed files"
    if not landed:
        return ok(what, "there are none")
    if unread:
        return Finding(unread, what, f"whether all are loaded is not known: {counted(landed, 'delivery')}")
    if not is_there and waiting < landed:
        return ok(what, f"none is loaded: {counted(landed, 'delivery')}; see the warehouse above")
    if waiting:
        return ok(what, f"{counted(waiting, 'delivery')} not loaded yet: a run is doing it, or the next one will")
    return ok(what, "all are loaded")


def _newest_day(
    connection: duckdb.DuckDBPyConnection, export: Export, start_date: date, now: datetime, *, is_listed: bool
) -> Finding:
    """The newest day that all listed have data for, and the days since the first pull that some have none for.

    `is_listed`: whether the API has listed the export's subject, perhaps with none.
    """
    ledger, subject = Ledger(connection), export.subject
    if not ledger.listed_at(subject) and (is_listed or any(ledger.listed_at(other) for other in SUBJECTS)):
        unlisted = f"left out: no run has listed {subject.plural}, which takes the scope {subject.scope}; see API above"
        return ok(export.name, f"no rows: the account has no {subject.name}" if is_listed else unlisted)
    newest, due = newest_complete_day(connection, export, now), due_day(now)
    earliest = "select min(start_date) from deliveries where export = $1"
    ((first,),) = connection.execute(earliest, [export.name]).fetchall()
    since = max(first or start_date, due - timedelta(days=HEALING_DAYS - 1))
    # A day before the first pull may be complete because no campaign existed yet; that is no news.
    message = f"newest complete day {newest}" if newest and newest >= since else "no complete day"
    if since > due:
        return ok(export.name, message)
    found = missing(connection, export, DateRange(since, due))
    late = newest is None or newest < due
    if not late and not found:
        return ok(export.name, message)
    if late:
        message += f", though {due} is due"
    if not found:
        return warn(
            export.name, message, f"no {export.subject.name} has been listed since then: see the last run above"
        )
    days = sorted({day for item in found for day in item.days})
    which = f"{days[0]} to {days[-1]}" if len(days) > 1 else str(days[0])
    message += f"; {counted(len(found), export.subject.name)} without {counted(len(days), 'day')}, {which}"
    again = PullAgain.of([DateRange(days[0], days[-1])], start_date, refetch=False)
    pulls = [f"{command} pulls them" for command in again.commands]
    return warn(export.name, message, "; ".join(filter(None, ("see the last run above", *pulls, again.before))))


def _before_the_first_day(connection: duckdb.DuckDBPyConnection, start_date: date) -> Iterator[Finding]:
    """The days that were pulled before SOUNDLINK_START_DATE was moved to a later one: nothing pulls them again."""
    ((first,),) = connection.execute("select min(start_date) from deliveries").fetchall()
    if first is None or first >= start_date:
        return
    last = start_date - timedelta(days=1)
    ledger = Ledger(connection)
    unsettled = sorted({day for export in EXPORTS for day in ledger.unsettled_days(export, first, last)})
    message = f"days from {first} on were pulled before SOUNDLINK_START_DATE ({start_date})"
    if not unsettled:
        yield ok("first day", f"{message}; all of them are final")
        return
    which = f"{unsettled[0]} to {unsettled[-1]}" if len(unsettled) > 1 else str(unsettled[0])
    command = typed(f"pull --from={unsettled[0]} --to={unsettled[-1]}")
    yield warn(
        "first day",
        f"{message}; {counted(len(unsettled), 'day')} of them, {which}, will not be pulled again and stay unsettled",
        f"with SOUNDLINK_START_DATE={unsettled[0]}, {command} settles them",
    )


def _published(path: Path, loaded: set[str], project: ProjectState) -> Iterator[Finding]:
    """The analysts' file: it exists, opens, and holds the deliveries in `loaded`, unless a run is about to publish."""
    fix = (
        f"with a daemon running, {MODELS_AND_PUBLICATION} follows within a minute; if it did not, see why its last run"
        f" or that of {DAILY_REFRESH} failed; {typed('rebuild')} publishes too"
    )
    if not path.exists():
        if loaded:
            message = "nothing is published yet, although the warehouse has data"
            under_way = run_is_under_way(project)
            yield ok(path.name, f"{message}: a run is under way") if under_way else fault(path.name, message, fix)
        return
    try:
        with read_published(path) as connection:
            ((at, newest),) = connection.execute("select published_at, newest_report_date from publication").fetchall()
            known = {name for (name,) in connection.execute("select delivery_id from deliveries").fetchall()}
    except duckdb.Error as error:
        replaced = f"the next run replaces it; {typed('rebuild')} replaces it now"
        yield fault(path.name, f"cannot be opened: {first_line(error)}", replaced)
        return
    message = f"published {minute(at)}, newest day {newest}"
    if not (lacking := len(loaded - known)):
        yield ok(path.name, message)
        return
    message += f": it lacks {counted(lacking, 'delivery')} that the warehouse has"
    if run_is_under_way(project):
        yield ok(path.name, f"{message}, but a run is under way")
    else:
        yield fault(path.name, message, fix)


def _quarantine_of(landing: Landing) -> Landing:
    """The quarantine, whose folders are laid out like the landing's."""
    quarantine = Landing(landing.root.parent)
    quarantine.root = landing.quarantine
    return quarantine


def _newer(connection: duckdb.DuckDBPyConnection, subject: Subject, listings: list[Listing]) -> list[Listing]:
    """Those of the listings that are newer than the one of their account in the warehouse."""
    newest = Ledger(connection).listed_at(subject)
    return [item for item in listings if item.account not in newest or item.listed_at > newest[item.account]]


def _has_healed(connection: duckdb.DuckDBPyConnection, refused: Delivery) -> bool:
    """Whether every day of a refused delivery has been loaded from a later pull."""
    ((days,),) = connection.execute(
        """
        select count(*) from report_date_status
        where account = $account and export = $export and subject_id = $subject_id
            and report_date between $start and $end and last_pulled_at > $pulled_at
        """,
        {
            "account": refused.account,
            "export": refused.export,
            "subject_id": refused.subject_id,
            "start": refused.dates.start,
            "end": refused.dates.end,
            "pulled_at": refused.pulled_at.replace(tzinfo=None),
        },
    ).fetchall()
    return bool(days == refused.dates.days)


def _quarantine(refused: list[Delivery], start_date: date) -> Finding:
    if not refused:
        return ok("quarantine", "no refused delivery that a later pull has not replaced")
    newest = max(refused, key=lambda delivery: delivery.received_at)
    message = f"{counted(len(refused), 'delivery')} refused or damaged that no later pull has replaced; newest: "
    message += newest.describe()
    again = PullAgain.of((delivery.dates for delivery in refused), start_date, refetch=True)
    pulls = f"{', '.join(again.commands)} pulls those days again, settled ones too" if again.commands else ""
    fix = "; ".join(filter(None, (f"read {newest.path}.reason.txt", pulls, again.before)))
    return warn("quarantine", message, fix)
