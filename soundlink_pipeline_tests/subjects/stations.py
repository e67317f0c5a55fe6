"""Stations: a subject of no document. A test puts this into a copy of `contracts/`, and its export into `EXPORTS`."""

from __future__ import annotations

from soundlink_pipeline.contracts.columns import COUNTRY, count, identity
from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export
from soundlink_pipeline.contracts.subject import Item, Lifetime, Subject, Tail, moment
from soundlink_pipeline.contracts.table import Column


def _lifetime(station: Item) -> Lifetime:
    created = moment(station.get("createdAt"))
    return Lifetime(None if created is None else created.date())


STATION = Subject(
    name="station",
    table="stations",
    meaning="The stations that each account saw, as last listed. Grain: one row per account and station id.",
    id_column="station_id",
    name_column="station_name",
    path="/v1/stations",
    scope="stations:read",
    listed=(
        Column("station_id", "VARCHAR", "The id the API lists. Primary key, with account.", nullable=False),
        Column("frequency", "DOUBLE", "Where it is heard, in MHz."),
        Column("created_at", "TIMESTAMP", "When it was founded (UTC)."),
    ),
    lifetime=_lifetime,
    named_by=("city",),
)

STATION_DAILY = Export(
    name="station_daily",
    subject=STATION,
    scope=STATION.scope,
    path="/v1/stations/{id}/metrics/plays/export",
    title="What a station played, per country and day.",
    grain="provider, account_id, report_date, station_id and country_code",
    primary_key=("provider", "account_id", DATE_COLUMN, STATION.id_column, "country_code"),
    tail=Tail(days=3),
    columns=(*identity(STATION, "The station's id.", targets=("track",)), COUNTRY, count("plays", "Plays.")),
    measures=("plays",),
    charted={"plays": "Plays"},
)
