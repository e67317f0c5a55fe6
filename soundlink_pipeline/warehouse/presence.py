"""Which keys are there: those that the newest delivery of their subject and day holds; the others have vanished.

A delivery speaks for every day of its range, of the subject whose id its rows hold, whatever account they name. An
empty one speaks for the subject of the nearest earlier delivery with rows of its path (the id in the request, and the
account that asked), unless another path has delivered that subject since; without such a delivery it speaks for none.
A key is present if the newest delivery that speaks for its subject and day holds it, with the values of its greatest
version. Every other key that was ever delivered is in `vanished_rows`, with that version. All of it follows from the
set of deliveries, in whatever order they were loaded; only the history, `_valid_from` and `_valid_until` follow the
order of loading.

A subject is one campaign or soundlink here. A round of loading is a set of deliveries no two of which can concern one
subject: `enter` takes what has vanished from the subjects and days concerned back into the table, so that the merge
rule finds every key's greatest version there, and `settle` takes out what the newest delivery does not hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from soundlink_pipeline.contracts.account import ListedId
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export
from soundlink_pipeline.warehouse.sql import insert_rows, naive, quote
from soundlink_pipeline.warehouse.tables import MODEL_STATE, VANISHED_ROWS, export_tables, version_columns

_EVER = (date.min, date.max)
_SEEN = "greatest(t._delivery_id, t._last_seen_delivery_id)"


@dataclass(frozen=True)
class Answer:
    """What a delivery says of keys: of which path, days and subject (None if empty)."""

    delivery_id: str
    path: ListedId
    subject: str | None
    dates: DateRange
    pulled_at: datetime


class Presence:
    """The presence of one export's keys while a batch is loaded, within the caller's transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, export: Export) -> None:
        self._connection = connection
        self._export = export
        self._returned = 0
        # Of each path its newest delivery without rows, and its newest of each subject; by the ledger, then on.
        self._newest: dict[ListedId, dict[str | None, str]] = defaultdict(dict)
        for account, subject_id, subject, newest in connection.execute(
            """
            select account, subject_id, row_subject_id, max(delivery_id) from deliveries
            where export = $1 group by all
            """,
            [export.name],
        ).fetchall():
            self._newest[ListedId(account, subject_id)][subject] = newest

    def rounds(self, answers: Sequence[Answer]) -> list[list[Answer]]:
        """The answers in their order, in rounds: none concerns a subject that another of its round may concern."""
        known = {path: set(newest) for path, newest in self._newest.items()}
        places: dict[ListedId | str, int] = defaultdict(int)
        rounds: list[list[Answer]] = []
        for answer in answers:
            subjects = known.setdefault(answer.path, set())
            subjects.add(answer.subject)
            keys: list[ListedId | str] = [answer.path, *(name for name in subjects if name is not None)]
            place = max(places[key] for key in keys)
            for key in keys:
                places[key] = place + 1
            if place == len(rounds):
                rounds.append([])
            rounds[place].append(answer)
        return rounds

    def enter(self, answers: Iterable[Answer]) -> None:
        """Begin a round: note the subjects and days its deliveries concern, and take back what had vanished there.

        What comes back has no `_valid_from`: it is not believed, unless `settle` finds it delivered again.
        """
        concerned = []
        for answer in answers:
            days = _EVER if self._is_late(answer) else (answer.dates.start, answer.dates.end)
            said = (*days, answer.delivery_id, naive(answer.pulled_at))
            concerned += [(subject, *said) for subject in self._subjects(answer)]
        self._execute(
            "create or replace temp table concerned"
            " (subject_id VARCHAR, first DATE, last DATE, delivery_id VARCHAR, pulled_at TIMESTAMP)"
        )
        if concerned:
            insert_rows(self._connection, "concerned", concerned)
        of_round = f"""
            from vanished_rows as v join concerned as c
                on v.subject_id = c.subject_id and v.report_date between c.first and c.last
            where v.export = {quote(self._export.name)}
        """
        self._returned = self._number(f"select count(*) {of_round}")
        if self._returned:
            table, _ = export_tables(self._export)
            values = ", ".join(f"(v.row ->> '{c.name}')::{c.type} as {c.name}" for c in version_columns(table))
            self._execute(
                f"""
                insert into {self._export.name} by name
                select {values}, d.pulled_at as _pulled_at, v.delivery_id as _delivery_id,
                    nullif(v.last_seen_delivery_id, v.delivery_id) as _last_seen_delivery_id
                from (select v.* {of_round}) as v join deliveries as d using (delivery_id)
                """
            )
            self._execute(f"delete from vanished_rows where rowid in (select v.rowid {of_round})")

    def settle(self, answers: Sequence[Answer]) -> None:
        """End a round, whose deliveries are merged and in the ledger: every key of it is where it belongs."""
        self._say_whom_they_speak_for(answers)
        self._note(answers)
        self._take_out_absent()
        own = [answer.delivery_id for answer in answers]
        if self._number("select count(*) from said_anew where not list_contains($own, delivery_id)", {"own": own}):
            self._forget_models()  # days changed that no delivery of this round covers
        if self._returned:
            self._execute(
                f"""
                update {self._export.name} as t set _valid_from = c.pulled_at from concerned as c
                where t._valid_from is null
                    and t.{self._export.id_column} = c.subject_id and t.{DATE_COLUMN} between c.first and c.last
                """
            )

    def settle_all(self) -> None:
        """Every key of the export where it belongs, in a warehouse whose tables kept what had vanished."""
        self._execute(
            "update deliveries set speaks_for = row_subject_id where export = $export", {"export": self._export.name}
        )
        self._resolve(self._newest, [])
        self._execute(
            """
            create or replace temp table concerned as
            select speaks_for as subject_id, min(start_date) as first, max(end_date) as last,
                '' as delivery_id, 'epoch'::timestamp as pulled_at
            from deliveries where export = $export and speaks_for is not null group by all
            """,
            {"export": self._export.name},
        )
        self._take_out_absent()

    def _take_out_absent(self) -> None:
        """Take out of the table what the newest delivery of its day does not hold, of what is `concerned`."""
        # Days for which one delivery alone speaks hold that delivery's keys and no others.
        self._execute(
            """
            create or replace temp table spoken as
            select subject_id, report_date, delivery_id, pulled_at,
                max(delivery_id) over (partition by subject_id, report_date) as newest
            from (
                select d.speaks_for as subject_id, d.delivery_id, d.pulled_at, unnest(generate_series(
                    greatest(d.start_date, c.first), least(d.end_date, c.last), interval 1 day))::date as report_date
                from deliveries as d join concerned as c
                    on d.speaks_for = c.subject_id and d.start_date <= c.last and d.end_date >= c.first
                where d.export = $export
            )
            qualify count(*) over (partition by subject_id, report_date) > 1
            """,
            {"export": self._export.name},
        )
        first, last = self._connection.execute("select min(report_date), max(report_date) from spoken").fetchall()[0]
        if first is not None:
            self._take_out(first, last)

    def contests(self, answers: Sequence[Answer]) -> bool:
        """Whether deliveries that are in the ledger by now speak for a day of a subject that another speaks for."""
        self._say_whom_they_speak_for(answers)
        self._note(answers)
        return bool(
            self._number(
                """
                select count(*) from (from deliveries where export = $export) as d
                join said_anew using (delivery_id)
                join (from deliveries where export = $export) as o
                    on o.speaks_for = d.speaks_for and o.delivery_id <> d.delivery_id
                    and o.start_date <= d.end_date and o.end_date >= d.start_date
                """,
                {"export": self._export.name},
            )
        )

    def _take_out(self, first: date, last: date) -> None:
        """Move the keys that the newest delivery of their day does not hold from the table to `vanished_rows`."""
        export = self._export
        bounds = {"first": first, "last": last}
        self._execute(
            f"""
            create or replace temp table absent as
            select t.rowid as id, {_SEEN} as last_seen, s.subject_id, s.report_date
            from {export.name} as t
            join (select distinct subject_id, report_date, newest from spoken) as s
                on t.{export.id_column} = s.subject_id and t.{DATE_COLUMN} = s.report_date
            where t.{DATE_COLUMN} between $first and $last and {_SEEN} < s.newest
            """,
            bounds,
        )
        if not self._number("select count(*) from absent"):
            return
        table, history = export_tables(export)
        key = ", ".join(f"{name} := t.{name}" for name in export.primary_key)
        row = ", ".join(f"{c.name} := t.{c.name}::varchar" for c in version_columns(table))
        self._execute(
            """
            create or replace temp table vanishing as
            select a.id, a.last_seen, seen.pulled_at as last_seen_at,
                min(s.delivery_id) as vanished, min_by(s.pulled_at, s.delivery_id) as vanished_at
            from absent as a
            join spoken as s using (subject_id, report_date)
            join deliveries as seen on seen.delivery_id = a.last_seen
            where s.delivery_id > a.last_seen
            group by all
            """
        )
        self._execute(
            f"""
            insert into vanished_rows ({", ".join(VANISHED_ROWS.column_names)})
            select {quote(export.name)}, t.{export.id_column}, t.{DATE_COLUMN},
                to_json(struct_pack({key})), to_json(struct_pack({row})), t._delivery_id,
                v.last_seen_at, v.vanished_at, v.last_seen, v.vanished
            from {export.name} as t join vanishing as v on t.rowid = v.id
            where t.{DATE_COLUMN} between $first and $last
            """,
            bounds,
        )
        # Believed until now, unless it is this round's: then a newer delivery without it was loaded before it.
        columns = ", ".join(f"t.{name}" for name in table.column_names)  # without an analyst's own
        self._execute(
            f"""
            insert into {history.name} by name
            select {columns}, v.vanished_at as _valid_until, v.vanished as _replaced_by_delivery_id, true as _vanished
            from {export.name} as t
            join vanishing as v on t.rowid = v.id
            join concerned as c on t.{export.id_column} = c.subject_id
            where t.{DATE_COLUMN} between $first and $last and t._valid_from is not null
                and not (t._delivery_id = c.delivery_id and t._valid_from = c.pulled_at)
            """,
            bounds,
        )
        self._execute(
            f"delete from {export.name} where {DATE_COLUMN} between $first and $last"
            " and rowid in (select id from vanishing)",
            bounds,
        )

    def _say_whom_they_speak_for(self, answers: Sequence[Answer]) -> None:
        """Fill `speaks_for` of the deliveries, and of empty ones that these, loaded late, give or take a subject."""
        paths = {answer.path for answer in answers}
        subjects = {name for answer in answers for name in self._subjects(answer)}
        related = paths | {path for path, newest in self._newest.items() if subjects & newest.keys()}
        self._resolve(related, [answer.delivery_id for answer in answers if answer.subject is not None])

    def _resolve(self, paths: Iterable[ListedId], own: Sequence[str]) -> None:
        """Fill `speaks_for` of the deliveries `own`, which have rows, and of the empty ones of `paths`.

        Which of them are said anew is left in the temp table `said_anew`.
        """
        self._execute(
            """
            create or replace temp table said_anew as
            with of_export as (select * from deliveries where export = $export),
            with_rows as (from of_export where row_subject_id is not null),
            empty as (
                from of_export
                where row_subject_id is null and list_contains($paths::varchar[][], [account, subject_id])
            ),
            last_rows as (
                select e.delivery_id, e.account, e.subject_id, e.speaks_for as said,
                    max_by(w.row_subject_id, w.delivery_id) as row_subject_id
                from empty as e join with_rows as w
                    on w.account = e.account and w.subject_id = e.subject_id and w.delivery_id < e.delivery_id
                group by all
            ),
            of_empty as (
                select l.delivery_id, l.said,
                    max_by([w.account, w.subject_id], w.delivery_id) = [l.account, l.subject_id] as is_newest_path,
                    case when is_newest_path then l.row_subject_id end as speaks_for
                from last_rows as l join with_rows as w
                    on w.row_subject_id = l.row_subject_id and w.delivery_id < l.delivery_id
                group by l.delivery_id, l.said, l.account, l.subject_id, l.row_subject_id
            )
            select delivery_id, speaks_for from of_empty where speaks_for is distinct from said
            union all
            select delivery_id, row_subject_id from with_rows where list_contains($own, delivery_id)
            """,
            {"export": self._export.name, "paths": [list(path) for path in sorted(paths)], "own": own},
        )
        self._execute(
            "update deliveries as t set speaks_for = s.speaks_for from said_anew as s"
            " where t.delivery_id = s.delivery_id"
        )

    def _subjects(self, answer: Answer) -> set[str]:
        """The subjects an answer may concern: its rows', and all that its path ever delivered."""
        return {name for name in (*self._newest.get(answer.path, ()), answer.subject) if name is not None}

    def _is_late(self, answer: Answer) -> bool:
        """Whether it has rows and a newer empty delivery is loaded, which may speak for others because of them."""
        subjects = self._subjects(answer)
        return answer.subject is not None and any(
            of_path.get(None, "") > answer.delivery_id
            for path, of_path in self._newest.items()
            if path == answer.path or subjects & of_path.keys()
        )

    def _forget_models(self) -> None:
        """Have every SQL model built in full."""
        made = "select count(*) from duckdb_tables() where database_name = current_database() and table_name = $name"
        if self._number(made, {"name": MODEL_STATE}):
            self._execute(f"update {MODEL_STATE} set load_order = -1")

    def _note(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            newest = self._newest[answer.path]
            newest[answer.subject] = max(newest.get(answer.subject, ""), answer.delivery_id)

    def _execute(self, sql: str, values: Mapping[str, object] | None = None) -> None:
        self._connection.execute(sql, dict(values or {}))

    def _number(self, sql: str, values: Mapping[str, object] | None = None) -> int:
        return int(self._connection.execute(sql, dict(values or {})).fetchall()[0][0])
