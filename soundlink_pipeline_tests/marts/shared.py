"""A warehouse whose rows are put straight into its tables, so each test shows all that its numbers are made of."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.contracts.soundlink_exports import SOUNDLINK_COUNTRY_DAILY, SOUNDLINK_ENGAGEMENT_DAILY
from soundlink_pipeline.models.build import build_model, build_models, run_tests
from soundlink_pipeline.models.project import SqlProject
from soundlink_pipeline.models.standing import Standing
from soundlink_pipeline_tests.support.deliveries import row

FOLDER = Path(__file__).parents[2] / "dbt_like_sql"
COUNTRY, ENGAGEMENT = CAMPAIGN_COUNTRY_DAILY.name, CAMPAIGN_ENGAGEMENT_DAILY.name
PAGE, LISTENING = SOUNDLINK_COUNTRY_DAILY.name, SOUNDLINK_ENGAGEMENT_DAILY.name  # a soundlink's
SETTLED, PROVISIONAL = "2026-05-01 07:00", "2026-03-05 07:00"
PROMOTED, OTHER = "promoted-track", "other-track"
OF_ROWS = "d0"
_OWN = {"_pulled_at": SETTLED, "_valid_from": SETTLED, "_delivery_id": OF_ROWS}
_NOTHING = dict.fromkeys(("bytes", "inserted", "updated", "unchanged", "ignored_as_older"), 0)
_SOUNDLINK = {"provider": "soundlink", "account_id": "a1", "schema_version": "1.0", "report_date_timezone": "UTC"}
_SOUNDLINK |= {"exported_at": "2026-05-22 10:12:11", "soundlink_id": "s1", "soundlink_name": "Link"}
_TRACK_SOUNDLINK = {"soundlink_target_type": "track", "soundlink_target_spotify_track_id": PROMOTED}
_OTHERS = ("vanished_rows", "deliveries", "campaigns", "soundlinks", "expected_accounts", "distributor_statements")
_numbers = itertools.count(1)
Rows = list[tuple[Any, ...]]


class Marts:
    """A warehouse to put rows into, and its models."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, project: SqlProject) -> None:
        self._connection, self.project = connection, project
        self._to_build: set[str] = set()

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The warehouse, with all that `build` has asked for."""
        self._build_now(self._to_build)
        return self._connection

    def put(self, table: str, values: dict[str, Any]) -> None:
        marks = ", ".join("?" * len(values))
        self.connection.execute(f"insert into {table} ({', '.join(values)}) values ({marks})", list(values.values()))

    def country(self, day: str, country: str = "US", *, table: str = COUNTRY, **changes: Any) -> None:
        """A row of campaign c1; counts and money are 0 unless given."""
        zero = dict.fromkeys(("impressions", "ad_clicks", "link_clicks", "streams", "listeners", "followers"), 0)
        money = dict.fromkeys(("spend_media", "spend_total", "fees"), 0)
        names = {"account_id": "a1", "campaign_id": "c1", "campaign_name": "One"}
        changes = zero | money | names | changes
        self.put(table, row(CAMPAIGN_COUNTRY_DAILY) | {"report_date": day, "country_code": country} | _OWN | changes)

    def engagement(self, day: str, track: str = PROMOTED, country: str = "US", **changes: Any) -> None:
        """A row of track campaign c1, made of `new` and `returning`: each a pair of listeners and streams."""
        names = {"account_id": "a1", "campaign_id": "c1", "campaign_name": "One", "status": "active"}
        target = {"campaign_target_type": "track", "campaign_target_spotify_track_id": PROMOTED}
        listening = _listening(day, track, country, changes)
        self.put(ENGAGEMENT, row(CAMPAIGN_ENGAGEMENT_DAILY) | listening | names | target | _OWN | changes)

    def page(self, day: str, country: str = "US", *, table: str = PAGE, **changes: Any) -> None:
        """A row of soundlink s1; counts are 0 unless given, those that may be null are null."""
        zero = dict.fromkeys(("views", "streams", "listeners", "followers", "streams_per_listener"), 0)
        key = {"report_date": day, "country_code": country}
        self.put(table, _SOUNDLINK | _TRACK_SOUNDLINK | key | zero | _OWN | changes)

    def soundlink_engagement(self, day: str, track: str = PROMOTED, country: str = "US", **changes: Any) -> None:
        """A row of track soundlink s1, made as `engagement` makes one of a campaign."""
        of_track = {"engagement_context": "catalog", "engaged_track_name": "Till The Sunrise"}
        listening = _listening(day, track, country, changes)
        self.put(LISTENING, _SOUNDLINK | _TRACK_SOUNDLINK | of_track | listening | _OWN | changes)

    def pulled(
        self,
        export: str,
        start: str,
        end: str | None = None,
        at: str = SETTLED,
        path: str = "c1",
        rows: int = 1,
        account: str = DEFAULT_ACCOUNT,
        delivery: str | None = None,
    ) -> None:
        """A delivery in the ledger. One without rows names no campaign of its own; rows are of `OF_ROWS` by default."""
        moments = dict.fromkeys(("requested_at", "received_at", "server_date", "pulled_at"), at)
        number = next(_numbers)
        asked = {"account": account, "subject_id": path, "start_date": start, "end_date": end or start}
        kept = {"sha256": "", "unknown_fields": [], "run_id": "r", "landed_file": "", "load_order": number}
        self.put(
            "deliveries",
            {"delivery_id": delivery or f"{at} {number:09}", "export": export, "rows": rows}
            | asked
            | moments
            | _NOTHING
            | kept
            | {"row_subject_id": path.removeprefix("alias-") if rows else None}
            | {"speaks_for": path.removeprefix("alias-")},
        )

    def vanished(self, day: str, country: str, *, last_seen: str, vanished: str) -> None:
        """A country row of campaign c1 that the delivery `last_seen` was the last to hold."""
        values = row(CAMPAIGN_COUNTRY_DAILY) | {"report_date": day, "country_code": country, "campaign_id": "c1"}
        key = {name: values[name] for name in CAMPAIGN_COUNTRY_DAILY.primary_key}
        named = {"export": COUNTRY, "subject_id": "c1", "report_date": day}
        texts = {"key": json.dumps(key), "row": json.dumps(values)}
        seen = {"delivery_id": last_seen, "last_seen_delivery_id": last_seen, "last_seen_at": last_seen[:16]}
        self.put(
            "vanished_rows",
            named | texts | seen | {"vanished_delivery_id": vanished, "vanished_at": vanished[:16]},
        )

    def listed(self, campaign: str, listed_at: str = "2026-05-01", **changes: Any) -> None:
        self.put("campaigns", {"campaign_id": campaign, "_listed_at": listed_at} | _LISTED | changes)

    def listed_soundlink(self, soundlink: str, listed_at: str = "2026-05-01", **changes: Any) -> None:
        self.put("soundlinks", {"soundlink_id": soundlink, "_listed_at": listed_at} | _LISTED | changes)

    def statement(
        self, month: str, streams: int, revenue: float | str, country: str | None = "US", **changes: Any
    ) -> None:
        """A row of a statement: what Spotify paid for the promoted track `ISRC1`."""
        row = {"file": "s.csv", "row": next(_numbers), "isrc": "ISRC1", "store": "Spotify", "currency": "USD"}
        told = {"sale_month": f"{month}-01", "streams": streams, "revenue": revenue, "country_code": country}
        self.put("distributor_statements", row | told | changes)

    def build(self, dates: DateRange | None = None) -> None:
        """Build all models; in full, each when it or what reads it is asked for, and all before the next row is put."""
        if dates is None:
            self._to_build = set(self.project.models)
        else:
            build_models(self.connection, self.project, dates)

    def _build_now(self, names: set[str]) -> None:
        wanted = [model for model in self.project.models.values() if model.name in names & self._to_build]
        if wanted:
            standing = Standing(self._connection)  # asked once, as build_models does
            for model in wanted:
                build_model(self._connection, self.project, model, standing=standing)
            standing.save(self._connection)
        self._to_build -= names

    def rows(self, table: str, columns: str, where: str = "true") -> Rows:
        """Rows in the order of the columns asked for; dates as text. `table` may be a query: it sees all models."""
        self._build_now(self._needed(table) or set(self.project.models))
        found = self._connection.execute(f"select {columns} from {table} where {where} order by all").fetchall()
        return [tuple(str(v) if isinstance(v, date) else v for v in line) for line in found]

    def with_models(self, *tables: str) -> duckdb.DuckDBPyConnection:
        """The warehouse, with these models alone and what they read."""
        self._build_now(self._needed(*tables))
        return self._connection

    def _needed(self, *tables: str) -> set[str]:
        needed: set[str] = set()
        for model in reversed(self.project.models.values()):
            if model.table in tables or model.name in needed:
                needed |= {model.name, *model.refs}
        return needed

    def everything(self) -> dict[str, Rows]:
        """Every mart, all rows."""
        marts = [model.table for model in self.project.models.values() if model.schema == "marts"]
        return {table: self.connection.execute(f"from {table} order by all").fetchall() for table in marts}

    def failing(self, *, singular: bool = False) -> list[str]:
        """The tests that find bad rows; `singular`: of those in dbt_like_sql/tests only."""
        tests = [test for test in self.project.tests if test.singular or not singular]
        project = replace(self.project, tests=tests)
        found = [item for model in project.models.values() for item in run_tests(self.connection, project, model)]
        return [item.test.name for item in found if not item.passed]

    def clear(self) -> None:
        rows = [name for export in EXPORTS for name in (export.name, f"{export.name}_history")]
        self._to_build.clear()
        for table in (*rows, *_OTHERS):
            self._connection.execute(f"delete from {table}")


def one(marts: Marts, table: str, columns: str, where: str = "true") -> tuple[Any, ...]:
    (found,) = marts.rows(table, columns, where)
    return found


def _listening(day: str, track: str, country: str, changes: dict[str, Any]) -> dict[str, Any]:
    """A track's day in a country; takes `new` and `returning` out of the changes."""
    (new, new_streams), (back, back_streams) = changes.pop("new", (0, 0)), changes.pop("returning", (0, 0))
    counts = {"new_listeners": new, "returning_listeners": back, "listeners": new + back, "spl": 0}
    streams = {"new_listener_streams": new_streams, "returning_listener_streams": back_streams}
    streams["streams"] = new_streams + back_streams
    key = {"report_date": day, "country_code": country, "engaged_spotify_track_id": track}
    return key | counts | streams


def playlist(position: int | None, **changes: Any) -> dict[str, Any]:
    target = {"campaign_target_type": "playlist", "campaign_target_spotify_track_id": None}
    place = {"campaign_target_playlist_id": "p1", "engagement_context": "playlist", "playlist_position": position}
    return target | place | changes


_LISTED = {"account": DEFAULT_ACCOUNT, "_listed_json": "{}"}
RUNNING = {"status": "active", "created_at": "2026-01-01"}
