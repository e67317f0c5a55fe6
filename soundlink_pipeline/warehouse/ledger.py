"""What the ledger knows: questions about deliveries, days and rows, asked over an open connection."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb

from soundlink_pipeline.contracts.account import DEFAULT_ACCOUNT, ListedId
from soundlink_pipeline.contracts.days import HEALING_DAYS, DateRange, last_closed_day
from soundlink_pipeline.contracts.schema import CURRENCY_COLUMN, DATE_COLUMN, VERSION_COLUMN, Export
from soundlink_pipeline.contracts.subject import ExpectedDays, Subject, expected_days
from soundlink_pipeline.warehouse.pulled_so_far import DaysByRequest, PulledSoFar, done_days, pulled_so_far


@dataclass(frozen=True)
class DateStatus:
    """What the ledger knows of one report_date of one export: over all that was pulled.

    `settled_share`: of the campaigns or soundlinks pulled, the share whose day is final, from 0 to 1; 0 of a day never
    pulled.
    """

    report_date: date
    rows: int
    totals: dict[str, float]
    last_pulled_at: datetime | None
    settled_share: float

    @property
    def settled(self) -> bool:
        return self.settled_share == 1


class Ledger:
    """Questions over one connection to a warehouse whose tables exist. Each raises duckdb.Error, and writes nothing."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def listed(self, subject: Subject) -> dict[ListedId, dict[str, Any]]:
        """Each expected account's newest listing of a subject: each as the API listed it, by its listed id."""
        rows = self._connection.execute(
            f"""
            select account, {subject.id_column}, _listed_json from {subject.table}
            qualify _listed_at = max(_listed_at) over (partition by account) order by all
            """
        ).fetchall()
        expected = self._first_days()
        return {
            ListedId(account, subject_id): json.loads(listed)
            for account, subject_id, listed in rows
            if account in expected or not expected
        }

    def details_had_for(self, subject: Subject, account: str) -> dict[str, dict[str, Any]]:
        """By listed id, what was listed of those of an account when their details were last had."""
        rows = self._connection.execute(
            f"select {subject.id_column}, _detail_listed_json from {subject.table}"
            " where account = $1 and _detail_listed_json is not null",
            [account],
        ).fetchall()
        return {listed_id: json.loads(listed) for listed_id, listed in rows}

    def _first_days(self) -> dict[str, date | None]:
        """The accounts that are expected, each with its own first day if it has one; empty where all are."""
        # Asked by itself: a join or a subquery would take DuckDB longer to plan than all of these few rows.
        return dict(self._connection.execute("select account, start_date from expected_accounts").fetchall())

    def expected_days(self, export: Export) -> dict[ListedId, ExpectedDays]:
        """By listed id, the days on which rows are expected: of all that were ever listed.

        This is the one rule of what is expected, from the listing and the rows that have come; `data_status` says the
        same in SQL.
        """
        subject, newest = export.subject, self.newest_rows_of(export)
        listed = self._connection.execute(
            f"select account, {subject.id_column}, _listed_json from {subject.table}"
        ).fetchall()
        first_days = self._first_days()
        return {
            (of := ListedId(account, name)): expected_days(
                subject.lifetime(json.loads(item)), export.tail, newest.get(of)
            ).since(first_days.get(account))
            for account, name, item in listed
        }

    def newest_rows_of(self, export: Export) -> dict[ListedId, date]:
        """By listed id, the newest report_date with rows."""
        # Put together here: with a join, DuckDB takes three times as long for the same few rows.
        newest: dict[str, date] = dict(
            self._connection.execute(
                f"select {export.id_column}, max({DATE_COLUMN}) from {export.name} group by all"
            ).fetchall()
        )
        found: dict[ListedId, date] = {}
        for account, subject_id, in_rows in self._connection.execute(
            "select distinct account, subject_id, row_subject_id from deliveries where export = $1", [export.name]
        ).fetchall():
            if in_rows in newest:
                of = ListedId(account, subject_id)
                found[of] = max(found.get(of, date.min), newest[in_rows])
        return found

    def oldest_unsettled(self, exports: Iterable[Export], now: datetime, first_day: date) -> date | None:
        """The earliest report_date of the last HEALING_DAYS, from `first_day` on, that was pulled but not since it
        settled.

        Only of what a run would request: of one that is no longer listed nothing more can be pulled, and of one that is
        over no rows are expected after its tail; neither holds the answer back.
        """
        newest = last_closed_day(now)
        since = max(first_day, newest - timedelta(days=HEALING_DAYS - 1))
        days = [
            day
            for export in exports
            for day, unsettled in self.unsettled_days(export, since, newest).items()
            if not unsettled.isdisjoint(self.listed(export.subject))
        ]
        return min(days, default=None)

    def is_empty(self) -> bool:
        """Whether nothing was ever pulled."""
        return self._connection.execute("select count(*) = 0 from deliveries").fetchall() == [(True,)]

    def unsettled_days(self, export: Export, start: date, end: date) -> dict[date, set[ListedId]]:
        """Days pulled, but not since they settled, with the listed ids whose rows are expected then."""
        rows = self._connection.execute(
            """
            select account, subject_id, list(report_date) from report_date_status
            where export = $export and not is_settled and report_date between $start and $end group by all
            """,
            {"export": export.name, "start": start, "end": end},
        ).fetchall()
        expected = self.expected_days(export) if rows else {}
        found: dict[date, set[ListedId]] = {}
        for account, subject_id, days in rows:
            of = ListedId(account, subject_id)
            for day in days:
                if of not in expected or expected[of].meet(DateRange(day, day)):
                    found.setdefault(day, set()).add(of)
        return found

    def newest_settled_day(self, exports: Iterable[Export]) -> date | None:
        """The newest day that is final for all whose rows are expected, of every export that was ever pulled."""
        final: list[set[date]] = []
        pulled: list[tuple[dict[ListedId, ExpectedDays], dict[date, set[ListedId]]]] = []
        for export in exports:
            span = self._connection.execute(
                "select min(start_date), max(end_date) from deliveries where export = $1", [export.name]
            ).fetchall()
            ((first, last),) = span
            if first is None:
                continue
            of_days: dict[date, set[ListedId]] = {}
            for day, account, subject_id in self._connection.execute(
                "select report_date, account, subject_id from report_date_status where export = $1", [export.name]
            ).fetchall():
                of_days.setdefault(day, set()).add(ListedId(account, subject_id))
            final.append(of_days.keys() - self.unsettled_days(export, first, last).keys())
            listed = self.listed(export.subject)  # of others nothing more can be pulled
            expected = {of: days for of, days in self.expected_days(export).items() if of in listed}
            pulled.append((expected, of_days))
        days = sorted(set.intersection(*final), reverse=True) if final else []
        return next((day for day in days if all(_are_pulled(day, *of_export) for of_export in pulled)), None)

    def date_status(self, export: Export, dates: DateRange) -> list[DateStatus]:
        """Per report_date of `dates`: rows, totals of the export's measures, last pull, settled or not.

        Money has a total for each currency: `spend_total, USD`.
        """
        counts = [name for name in export.measures if name not in export.money]
        totals = ", ".join(f"coalesce(sum({name}), 0)::double" for name in counts)
        money = self._money(export, dates)
        rows = self._connection.execute(
            f"""
            with days as (
                select unnest(generate_series($start, $end, interval 1 day))::date as report_date
            ),
            pulled as (
                select report_date, max(last_pulled_at) as last_pulled_at, count(*) as subjects
                from report_date_status where export = $export and report_date between $start and $end
                group by report_date
            ),
            measured as (
                select report_date, count(*) as n, [{totals}] as totals from {export.name}
                where report_date between $start and $end group by report_date
            )
            select report_date, coalesce(n, 0), totals, last_pulled_at, subjects
            from days left join pulled using (report_date) left join measured using (report_date)
            order by report_date
            """,
            {"start": dates.start, "end": dates.end, "export": export.name},
        ).fetchall()
        unsettled = self.unsettled_days(export, dates.start, dates.end)
        return [
            DateStatus(
                report_date=day,
                rows=count,
                totals=dict(zip(counts, sums or [0.0] * len(counts), strict=True)) | money.get(day, {}),
                last_pulled_at=None if pulled is None else pulled.replace(tzinfo=UTC),
                settled_share=1 - len(unsettled.get(day, ())) / subjects if subjects else 0.0,
            )
            for day, count, sums, pulled, subjects in rows
        ]

    def _money(self, export: Export, dates: DateRange) -> dict[date, dict[str, float]]:
        """The totals of the measures that are money, by report_date, each for one currency."""
        names = [name for name in export.measures if name in export.money]
        if not names:
            return {}
        rows = self._connection.execute(
            f"""
            select {DATE_COLUMN}, {CURRENCY_COLUMN}, [{", ".join(f"sum({name})::double" for name in names)}]
            from {export.name} where {DATE_COLUMN} between $start and $end group by all order by all
            """,
            {"start": dates.start, "end": dates.end},
        ).fetchall()
        found: dict[date, dict[str, float]] = {}
        for day, currency, sums in rows:
            found.setdefault(day, {}).update(
                {f"{name}, {currency}": total for name, total in zip(names, sums, strict=True)}
            )
        return found

    def pulled_so_far(
        self,
        exports: Iterable[Export],
        dates: DateRange,
        run_ids: Sequence[str],
        *,
        settled: bool,
        account: str = DEFAULT_ACCOUNT,
    ) -> PulledSoFar:
        """What a run over `dates` must know of an account before it asks; `run_ids` and `settled` as in `done_days`."""
        newest_row = {
            (export.name, of.id): day
            for export in exports
            for of, day in self.newest_rows_of(export).items()
            if of.account == account
        }
        found = pulled_so_far(self._connection, dates, run_ids, account, newest_row)
        return replace(found, done=self.done_days(dates, run_ids, settled=settled, account=account))

    def done_days(
        self, dates: DateRange, run_ids: Sequence[str], *, settled: bool, account: str = DEFAULT_ACCOUNT
    ) -> DaysByRequest:
        """Per export and id as listed to an account, the days of `dates` that need not be pulled for it.

        Those that these runs have pulled, and with `settled` those that are final.
        """
        return done_days(self._connection, dates, run_ids, settled, account)

    def names(self, exports: Iterable[Export]) -> dict[ListedId, str]:
        """Display names by listed id, each from the newest row that was delivered of it by `exports`.

        That is the one of the greatest report_date, then exported_at, then name.
        """
        names = " union all ".join(
            f"select {export.id_column} as id, {export.subject.name_column} as name,"
            f" ({DATE_COLUMN}, {VERSION_COLUMN}, name) as newness from {export.name}"
            for export in exports
        )
        rows = self._connection.execute(
            f"""
            select d.account, d.subject_id, arg_max(n.name, n.newness)
            from (select distinct account, subject_id, row_subject_id from deliveries) as d
            join (
                select id, arg_max(name, newness) as name, max(newness) as newness from ({names}) group by all
            ) as n on n.id = d.row_subject_id
            group by all
            """
        ).fetchall()
        return {ListedId(account, subject_id): name for account, subject_id, name in rows}

    def newest_rows(
        self, export: Export, dates: DateRange, limit: int = 5
    ) -> tuple[list[str], list[tuple[object, ...]]]:
        """Names and values of the newest day's first rows, what tells them apart and what they measure: a preview."""
        key = [name for name in export.row_key if name != DATE_COLUMN]
        currency = [CURRENCY_COLUMN] if export.money else []
        columns = [DATE_COLUMN, export.subject.name_column, *key, *export.measures, *currency]
        rows = self._connection.execute(
            f"""
            select {", ".join(columns)} from {export.name}
            where {DATE_COLUMN} between $start and $end
            order by {DATE_COLUMN} desc, {", ".join(key)} limit {limit}
            """,
            {"start": dates.start, "end": dates.end},
        ).fetchall()
        return columns, rows

    def rows_per_day(self, export: Export, dates: DateRange, *, at_least: int) -> dict[str, dict[date, int]]:
        """Rows held by the id in them and report_date of `dates`; days of fewer rows are left out."""
        found = self._connection.execute(
            f"""
            select {export.id_column}, {DATE_COLUMN}, count(*) as rows from {export.name}
            where {DATE_COLUMN} between $start and $end group by all having rows >= $at_least
            """,
            {"start": dates.start, "end": dates.end, "at_least": at_least},
        ).fetchall()
        rows: dict[str, dict[date, int]] = {}
        for subject_id, day, count in found:
            rows.setdefault(subject_id, {})[day] = count
        return rows

    def row_subject_ids(self, account: str = DEFAULT_ACCOUNT) -> dict[tuple[str, str], str]:
        """By export and id as listed to an account, the id in the rows that a delivery without rows speaks for now.

        That of the path's newest delivery with rows, unless another path has delivered the same since.
        """
        found = self._connection.execute(
            """
            with paths as (
                select export, subject_id, arg_max(row_subject_id, delivery_id) as row_subject_id,
                    max(delivery_id) as newest
                from deliveries where account = $account and row_subject_id is not null group by all
            ),
            delivered as (
                select export, row_subject_id, max(delivery_id) as newest
                from deliveries where row_subject_id is not null group by all
            )
            select export, subject_id, row_subject_id
            from paths join delivered using (export, row_subject_id, newest)
            """,
            {"account": account},
        ).fetchall()
        return {(export, subject_id): row_subject_id for export, subject_id, row_subject_id in found}

    def row_count(self, export: Export) -> int:
        return int(self._connection.execute(f"select count(*) from {export.name}").fetchall()[0][0])

    def load_orders(self) -> dict[str, int]:
        """Every delivery in the ledger: its id, and its place in the order of loading."""
        return dict(self._connection.execute("select delivery_id, load_order from deliveries").fetchall())

    def newest_load(self) -> int:
        """The place of the newest delivery in the order of loading; 0 if there is none."""
        ((newest,),) = self._connection.execute("select coalesce(max(load_order), 0) from deliveries").fetchall()
        return int(newest)

    def delivered_by(self, run_ids: Sequence[str]) -> set[str]:
        """The ids of the deliveries that these runs have pulled."""
        query = "select delivery_id from deliveries where list_contains($1, run_id)"
        return {name for (name,) in self._connection.execute(query, [list(run_ids)]).fetchall()}

    def checksums(self) -> dict[str, str]:
        """Every delivery in the ledger: its id, and the SHA-256 of its bytes."""
        return dict(self._connection.execute("select delivery_id, sha256 from deliveries").fetchall())

    def listed_at(self, subject: Subject) -> dict[str, datetime]:
        """When a subject was last listed to each expected account; without those that it never was."""
        rows = self._connection.execute(f"select account, max(_listed_at) from {subject.table} group by all").fetchall()
        expected = self._first_days()
        return {account: moment.replace(tzinfo=UTC) for account, moment in rows if account in expected or not expected}


def _are_pulled(
    day: date, expected: Mapping[ListedId, ExpectedDays], of_days: Mapping[date, Collection[ListedId]]
) -> bool:
    """Whether all whose rows are expected on a day were pulled for it."""
    alone = DateRange(day, day)
    return all(of in of_days[day] for of, days in expected.items() if days.meet(alone))
