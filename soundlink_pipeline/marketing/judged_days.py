"""The days of each campaign that can be judged, with the least and the most that their counts will have been.

Streams and followers of a day arrive over the week after it, so that a day that closed yesterday always looks dear. A
provisional day counts with the range of `settled_estimates`. Where that has none, the day counts as it is from
`_AS_IT_IS_DAYS` days after its close on, and not before.
"""

from __future__ import annotations

MEASURES = ("streams", "listeners", "followers")
_AS_IT_IS_DAYS = 5


def _estimate(measure: str, end: str) -> str:
    return f"max(settled_{end}) filter (where measure = '{measure}') as {measure}_{end}"


def _judged(measure: str, end: str) -> str:
    return f"""
        sum(case
            when day.is_settled then day.{measure}
            when estimate.{measure}_{end} is not null then estimate.{measure}_{end}
            when estimate.days_after_close >= {_AS_IT_IS_DAYS} then day.{measure}
        end)::double as {measure}_{end}"""


# Common table expressions: `judged_days` has a row for each campaign, day and currency. A count is null as long as the
# day cannot be judged. `newest` is the newest day of the file.
JUDGED_DAYS = f"""
    newest as (select max(report_date) as day from marts.campaign_daily),

    estimates as (
        select
            subject_id as campaign_id,
            currency,
            report_date,
            max(days_after_close) as days_after_close,
            {", ".join(_estimate(measure, end) for measure in MEASURES for end in ("low", "high"))}
        from marts.settled_estimates
        where export = 'campaign_country_daily' and grain = 'subject'
        group by all
    ),

    judged_days as (
        select
            day.campaign_id,
            day.currency,
            day.report_date,
            max(day.campaign_name) as campaign_name,
            bool_and(day.is_settled) as is_settled,
            sum(day.spend_total) as spend,
            {", ".join(_judged(measure, end) for measure in MEASURES for end in ("low", "high"))}
        from marts.campaign_daily as day
        left join estimates as estimate
            on day.campaign_id = estimate.campaign_id
            and day.currency = estimate.currency
            and day.report_date = estimate.report_date
        where day.report_date > (select day from newest) - 21
        group by all
    )
"""
