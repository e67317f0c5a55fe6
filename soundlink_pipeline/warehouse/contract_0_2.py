"""The tables of version 0.2 and those before it, whose warehouses do not say which of their columns are the pipeline's.

Never changes: it is what those versions made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# A name ends with ? where a null was to be expected.
_IDENTITY = (
    "provider account_id schema_version report_date report_date_timezone exported_at campaign_id campaign_name"
    " campaign_target_type? campaign_target_isrc? campaign_target_spotify_track_id? campaign_target_playlist_id?"
)
_COUNTRY = (
    f"{_IDENTITY} country_code impressions? ad_clicks? link_clicks? streams listeners followers streams_per_listener"
    " spend_media spend_total fees currency currency_account cpl cpf cpc_linkclick? ctr_linkclick? ctr_adclick?"
    " cost_per_result result_type?"
)
_ENGAGEMENT = (
    f"{_IDENTITY} status engagement_context country_code engaged_track_isrc? engaged_spotify_track_id"
    " engaged_track_name playlist_position? new_listeners returning_listeners listeners new_listener_streams"
    " returning_listener_streams streams spl"
)
_OWN = "_pulled_at? _valid_from? _delivery_id? _last_seen_delivery_id?"
_HISTORY = f"{_OWN} _valid_until? _replaced_by_delivery_id?"
_TABLES = {
    "campaign_country_daily": f"{_COUNTRY} {_OWN}",
    "campaign_country_daily_history": f"{_COUNTRY} {_HISTORY}",
    "campaign_engagement_daily": f"{_ENGAGEMENT} {_OWN}",
    "campaign_engagement_daily_history": f"{_ENGAGEMENT} {_HISTORY}",
    "deliveries": (
        "delivery_id export campaign_id row_campaign_id? start_date end_date requested_at received_at server_date?"
        " pulled_at declared_rows? rows bytes sha256 inserted updated unchanged ignored_as_older unknown_fields run_id"
        " landed_file load_order"
    ),
    "campaigns": (
        "campaign_id organization_id? status? social_platform? daily_budget? total_budget? campaign_duration?"
        " generation? artist_id? artist_name? track_id? playlist_id? track_name? campaign_url? created_at? updated_at?"
        " _listed_json? _listed_at? _run_id?"
    ),
}

# Per table whether each column was nullable.
COLUMNS_0_2: Final[Mapping[str, Mapping[str, bool]]] = {
    table: {name.removesuffix("?"): name.endswith("?") for name in names.split()} for table, names in _TABLES.items()
}
# The keys that no comment tells.
KEYS_0_2: Final[Mapping[str, tuple[str, ...]]] = {"deliveries": ("delivery_id",), "campaigns": ("campaign_id",)}
VIEWS_0_2: Final = ("report_date_status", "vanished_rows")
