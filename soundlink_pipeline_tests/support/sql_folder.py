"""A folder of SQL models made for a test."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from textwrap import dedent

SETTINGS = """
name: soundlink
vars: {start_date: '1900-01-01', end_date: '2999-12-31', least: 0}
models:
    soundlink:
        staging: {+schema: staging, +materialized: view}
        marts: {+schema: marts, +materialized: table}
"""
SOURCES = """
version: 2
sources:
    - name: soundlink
      schema: main
      tables:
          - name: campaign_country_daily
            config: {meta: {assets: [campaign_country_daily]}}
          - name: campaigns
"""
STAGING = "select * from {{ source('soundlink', 'campaign_country_daily') }}\n"
DAILY = """
{{
    config(
        materialized='incremental',
        unique_key=['campaign_id', 'report_date'],
    )
}}
select campaign_id, report_date, sum(streams)::bigint as streams
from {{ ref('stg_country') }}
{% if is_incremental() %}
where report_date between date '{{ var("start_date") }}' and date '{{ var("end_date") }}'
{% endif %}
group by all
"""
TOTAL = "select campaign_id, sum(streams)::bigint as streams from {{ ref('daily') }} group by all\n"
MODELS = """
version: 2
models:
    - name: stg_country
      description: The export. One row per key.
      config: {meta: {grain: [report_date, campaign_id, country_code]}}
    - name: daily
      description: >
          Streams of a day.
          One row per campaign and day.
      config: {meta: {grain: [campaign_id, report_date]}}
      columns:
          - name: campaign_id
            description: The campaign.
            data_tests: [not_null]
          - name: streams
            description: Streams, may be summed.
    - name: total
      description: Streams of a campaign. One row per campaign.
      config: {meta: {grain: [campaign_id]}}
      columns:
          - name: campaign_id
            description: The campaign.
            data_tests:
                - unique
                - relationships: {arguments: {to: ref('daily'), field: campaign_id}}
"""
FILES = {
    "dbt_project.yml": SETTINGS,
    "models/staging/_sources.yml": SOURCES,
    "models/staging/stg_country.sql": STAGING,
    "models/marts/_marts.yml": MODELS,
    "models/marts/daily.sql": DAILY,
    "models/marts/total.sql": TOTAL,
}


def sql_folder(at: Path, changes: dict[str, str | None] | None = None) -> Path:
    """The folder, with other or further files; None leaves one out."""
    for name, text in {**FILES, **(changes or {})}.items():
        if text is not None:
            path = at / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text).lstrip("\n"))
    return at


@cache
def without_models() -> Path:
    """The same for all who write nothing into it."""
    folder = Path(tempfile.mkdtemp(prefix="soundlink-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return no_models(folder)


def no_models(at: Path) -> Path:
    """A folder that holds no model yet."""
    return sql_folder(at, {name: None for name in FILES if name != "dbt_project.yml"})
