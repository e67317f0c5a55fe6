"""What every client is asked; each question gives one value."""

# By what the table in docs/analysts.md calls them.
QUESTIONS = {
    "counts": "select sum(streams)::bigint as answer from marts.campaign_daily",
    "money": "select sum(spend_total)::decimal(18, 6) as answer from marts.campaign_daily",
    "ratios": "select cpf as answer from marts.campaign_summary where cpf > 0 order by all limit 1",
    "days": "select min(report_date) as answer from marts.campaign_daily",
    "times": "select max(exported_at) as answer from marts.campaign_daily",
    "nulls": "select cast(null as varchar) as answer",
    "views": "select count(*) as answer from staging.stg_deliveries",
}
VERSION = "select run_id as answer from publication"
