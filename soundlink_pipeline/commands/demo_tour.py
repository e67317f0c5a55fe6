"""What the demo shows of the warehouse it has filled, in numbered sections: what an analyst would look at first."""

from __future__ import annotations

from soundlink_pipeline.contracts.days import SETTLED_AFTER_DAYS
from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.orchestration.run_origin import Result
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.typed import typed

# Which oddity of the account is behind a check's warning.
_PLANTED = {
    "known_countries": "listeners without a country have the codes A1 and T1",
    "no_late_rows": "a row turned up after its day was final",
    "no_rows_gone": "rows of a day are keyed anew, as many as before",
    "no_vanished_keys": "a day's country was attributed anew, or a track was linked anew",
    "usual_volume": "campaigns and soundlinks begin and end in every way",
}
_LATE_ROWS = """\
   Settled is Soundlink's promise, and this account breaks it: late rows turn up after their day is final, and settled
   numbers grow. The check no_late_rows names those that a later pull brings. What no pull has brought yet, {} finds
   (while {} runs): it compares the rows with Soundlink's own totals."""


def say(text: str) -> None:
    print(text, flush=True)


def show_tables(soundlink: Soundlink) -> None:
    """Print what an analyst would look at, from the published database."""
    with read_published(soundlink.published_path) as connection:

        def show(title: str, sql: str) -> None:
            say(f"\n{title}")
            text = connection.execute(sql).df().to_string(index=False, max_colwidth=40)
            say("\n".join("   " + line for line in text.split("\n")))  # a name may hold U+2028

        show(
            "3. What was pulled",
            """
            with held as (select export, sum(rows)::bigint as rows_now from marts.data_status group by export)
            select export, count(*) as pulls, sum(inserted)::bigint as new, sum(updated)::bigint as revised,
                sum(unchanged)::bigint as confirmed, sum(inserted)::bigint - rows_now as vanished, rows_now
            from deliveries join held using (export) group by export, rows_now order by export
            """,
        )
        show(
            "4. Revised: the value before, and the value now",
            """
            select h.report_date, h.country_code as country, h.streams as streams_before, t.streams as streams_now,
                t.currency, h.spend_total as spend_before, t.spend_total as spend_now,
                h._valid_until::date as revised_on
            from campaign_country_daily_history as h
            join campaign_country_daily as t using (provider, account_id, report_date, campaign_id, country_code)
            where h.streams <> t.streams or h.spend_total <> t.spend_total
            order by h.report_date desc, abs(t.streams - h.streams) desc limit 5
            """,
        )
        show(
            f"5. Final or not: a day is settled once it was pulled {SETTLED_AFTER_DAYS} days after it began, by"
            " the API's own clock",
            """
            select report_date, subjects_pulled, rows, revised_keys, is_settled, last_pulled_at
            from marts.data_status where export = 'campaign_country_daily' order by report_date desc limit 10
            """,
        )
        say(_LATE_ROWS.format(typed("totals"), typed("dev")))
        show(
            "6. How far each number was from its settled value, in percent, by days after the day closed",
            """
            pivot (
                select concat_ws(', ', measure, currency) as measure, 'day ' || days_after_close as day,
                    round(100 * shortfall_share, 1) as percent_missing
                from marts.revision_curve where export = 'campaign_country_daily'
            ) on day using first(percent_missing) group by measure order by measure
            """,
        )
        show(
            "7. A first question: settled spend and listening per campaign",
            """
            select campaign_name, currency, sum(settled_spend_total) as spend, sum(settled_streams)::bigint as streams,
                sum(settled_followers)::bigint as followers,
                round(sum(settled_spend_media) / sum(settled_followers), 2) as cost_per_follower
            from marts.campaign_summary group by campaign_id, campaign_name, currency
            order by streams desc limit 5
            """,
        )
        show(
            "8. Soundlinks, the self-serve links that belong to no campaign: what each has brought so far",
            """
            select soundlink_name, status, days, views, round(100 * ctr_lp, 1) as percent_that_click, streams,
                followers, last_report_date
            from marts.soundlink_summary order by streams desc, soundlink_id
            """,
        )


def show_checks(result: Result) -> None:
    """Print what the checks of a run say, and which oddity of the account is behind each warning."""
    evaluations = result.get_asset_check_evaluations()
    red: dict[str, list[str]] = {}
    for check in evaluations:
        if not check.passed:
            red.setdefault(check.check_name, []).append(check.asset_key.to_user_string())
    passed = sum(check.passed for check in evaluations)
    say(f"\n9. Checks of the last run: {passed} passed, {len(evaluations) - passed} did not")
    for name, assets in sorted(red.items()):
        why = _PLANTED.get(name, "none of the account's oddities explains it")
        say(f"   {name} of {' and '.join(sorted(assets))}: {why}")
    say("   The UI shows the rows behind each (Catalog, an asset, Checks); docs/checks.md says what a check means.")
    say("   In the runs of earlier days newest_day is red, too: by the clock on the wall they come late.")


def show_requests(soundlink: Soundlink, requests: int, pulled_days: int) -> None:
    with read_published(soundlink.published_path) as connection:
        naive = pulled_days * sum(
            connection.execute(f"select count(*) from {export.subject.table}").fetchall()[0][0]
            for export in soundlink.warehouse.exports
        )
    say(
        f"\n10. {requests} requests; one for each day, campaign or soundlink, and export would be up to {naive:,},"
        f" {naive // requests} x as many"
    )
