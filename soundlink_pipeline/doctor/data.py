"""The data: whether the newest days are there, whole, final and published, and what lies about."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from soundlink_pipeline.contracts.days import HEALING_DAYS, DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.doctor.finding import Finding, counted, fault, first_line, minute, ok, warn
from soundlink_pipeline.doctor.patient import LONGEST_SILENCE, Patient
from soundlink_pipeline.landing.deliveries import Delivery
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.quality.completeness import due_day, missing, newest_complete_day
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable


def check_data(patient: Patient) -> Iterator[Finding]:
    """What a run would find and leave behind."""
    now, landing, warehouse = patient.clock(), Landing(patient.settings.data_dir), patient.warehouse
    refused, waiting = _refused(landing), landing.not_archived()
    if warehouse.exists():
        try:
            with warehouse.read(0.5) as connection:
                for export in EXPORTS:
                    yield _newest_day(connection, export.name, patient.settings.start_date, now)
                loaded = dict(connection.execute("select delivery_id, received_at from deliveries").fetchall())
                refused = [delivery for delivery in refused if not _has_healed(connection, delivery)]
            waiting = [delivery for delivery in waiting if delivery.delivery_id not in loaded]
            yield from _published(patient.settings.data_dir / "soundlink.duckdb", loaded, now)
        except (WarehouseLocked, WarehouseUnusable, duckdb.CatalogException):
            yield ok("warehouse", "its data was not examined; see above")
    elif landed := len(landing.deliveries()):
        says = f"there is none, but {landed} deliveries have landed"
        yield warn("warehouse", says, "make rebuild makes it of them, without one request")
    else:
        yield ok("warehouse", "no data yet: make backfill FROM=… TO=… pulls the past")
    yield _quarantine(refused)
    if waiting:
        says = f"{len(waiting)} deliveries are not loaded: a run is at work, or the next one loads them"
        yield ok("landed files", says)
    else:
        yield ok("landed files", "all are loaded")


def _newest_day(connection: duckdb.DuckDBPyConnection, export: str, start_date: date, now: datetime) -> Finding:
    """The newest day that is there for every campaign; and of those since the first pull, which are not."""
    newest, due = newest_complete_day(connection, export, now), due_day(now)
    ((first,),) = connection.execute("select min(start_date) from deliveries where export = ?", [export]).fetchall()
    since = max(first or start_date, due - timedelta(days=HEALING_DAYS - 1))
    # A day before the first pull may be complete because no campaign was there yet: of that nobody wants to hear.
    says = f"newest complete day {newest}" if newest and newest >= since else "no complete day"
    if since > due:
        return ok(export, says)
    found = missing(connection, export, DateRange(since, due))
    late = newest is None or newest < due
    if not late and not found:
        return ok(export, says)
    if late:
        says += f", though {due} is due"
    if not found:
        return warn(export, says, "no campaign was listed since: see the last run above")
    days = sorted({day for campaign in found for day in campaign.days})
    which = f"{days[0]} to {days[-1]}" if len(days) > 1 else str(days[0])
    says += f"; {counted(len(found), 'campaign')} without {counted(len(days), 'day')}, {which}"
    return warn(export, says, f"see the last run above; make backfill FROM={days[0]} TO={days[-1]} pulls them")


def _published(path: Path, loaded: dict[str, datetime], now: datetime) -> Iterator[Finding]:
    """The analysts' file: there, whole, and of the same deliveries (each with when it was received)."""
    if not path.exists():
        if loaded:
            fix = "mend what the last run says, and run again; make rebuild publishes too"
            yield warn(path.name, "nothing was published yet, though there is data", fix)
        return
    try:
        with read_published(path) as connection:
            ((at, newest),) = connection.execute("select published_at, newest_report_date from publication").fetchall()
            known = {name for (name,) in connection.execute("select delivery_id from deliveries").fetchall()}
    except duckdb.Error as error:
        fix = "the next run puts a new one in its place; make rebuild does now"
        yield fault(path.name, f"cannot be opened: {first_line(error)}", fix)
        return
    says = f"published {minute(at)}, newest day {newest}"
    lacking = [received.replace(tzinfo=UTC) for name, received in loaded.items() if name not in known]
    if lacking and now - min(lacking) > LONGEST_SILENCE:
        fix = "a model or its test failed, or the run did: see the last run; make rebuild publishes too"
        yield warn(path.name, f"{says}: older than the warehouse by {len(lacking)} deliveries", fix)
    else:  # what has come since, a run that is at work will publish
        yield ok(path.name, says)


def _refused(landing: Landing) -> list[Delivery]:
    """What lies in quarantine, which is laid out as the landing is."""
    quarantine = Landing(landing.root.parent)
    quarantine.root = landing.quarantine
    return quarantine.deliveries()


def _has_healed(connection: duckdb.DuckDBPyConnection, refused: Delivery) -> bool:
    """Whether every day of a refused delivery has been pulled well since."""
    ((days,),) = connection.execute(
        """
        select count(*) from report_date_status
        where export = $export and campaign_id = $campaign_id
            and report_date between $start and $end and last_pulled_at > $pulled_at
        """,
        {
            "export": refused.export,
            "campaign_id": refused.campaign_id,
            "start": refused.dates.start,
            "end": refused.dates.end,
            "pulled_at": refused.pulled_at.replace(tzinfo=None),
        },
    ).fetchall()
    return bool(days == refused.dates.days)


def _quarantine(refused: list[Delivery]) -> Finding:
    if not refused:
        return ok("quarantine", "nothing in it that has not been delivered well since")
    newest = max(refused, key=lambda delivery: delivery.received_at)
    says = f"{len(refused)} refused deliveries, not delivered well since; newest: {newest.describe()}"
    fix = f"read {newest.path}.reason.txt; a new run over those days loads them once the API delivers them well"
    return warn("quarantine", says, fix)
