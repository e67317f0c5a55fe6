"""The exports as data: for each one its API path, primary key and every column with type, nullability, meaning, rule.

This is the one place that knows what Soundlink delivers (source: the vendor's export contract, schema version 1.0).
The tables and their comments, the way a delivery is read, the rules it is checked against and `docs/exports.md` are
all derived from here: adding an export means adding an `Export` here and to `EXPORTS`, and nothing else.
"""

from __future__ import annotations

from soundlink_pipeline.contracts.schema import (
    CAMPAIGN_COLUMN,
    DATE_COLUMN,
    VERSION_COLUMN,
    Export,
    ExportColumn,
    Identity,
    Ratio,
    Tail,
)
from soundlink_pipeline.contracts.table import MONEY


def _count(name: str, meaning: str, *, nullable: bool = False, minimum: int = 0) -> ExportColumn:
    return ExportColumn(name=name, type="BIGINT", meaning=meaning, nullable=nullable, minimum=minimum)


def _text(name: str, meaning: str, *, nullable: bool = False, allowed: tuple[str, ...] = ()) -> ExportColumn:
    return ExportColumn(name=name, type="VARCHAR", meaning=meaning, nullable=nullable, allowed=allowed)


def _number(name: str, meaning: str, *, nullable: bool = False) -> ExportColumn:
    return ExportColumn(name=name, type="DOUBLE", meaning=meaning, nullable=nullable)


def _money(name: str, meaning: str) -> ExportColumn:
    return ExportColumn(name=name, type=MONEY, meaning=meaning)


# The first twelve columns of every export.
_IDENTITY = (
    _text("provider", "Who measured it.", allowed=("soundlink",)),
    # A campaign may move to another organization, in the middle of a day's rows.
    ExportColumn(name="account_id", type="VARCHAR", meaning="Organization id, a UUID.", one_per_row=True),
    _text("schema_version", "Version of the export's schema.", allowed=("1.0",)),
    ExportColumn(name=DATE_COLUMN, type="DATE", meaning="UTC calendar day the row is about."),
    _text("report_date_timezone", "Time zone of report_date.", allowed=("UTC",)),
    ExportColumn(name=VERSION_COLUMN, type="TIMESTAMP", meaning="When Soundlink generated the row (UTC); the version."),
    ExportColumn(
        name=CAMPAIGN_COLUMN,
        type="VARCHAR",
        meaning="Campaign UUID, stable for its lifetime; may differ from the id the API lists.",
        one_per_delivery=True,
    ),
    _text("campaign_name", "Display name, any Unicode."),
    _text(
        "campaign_target_type",
        "What is promoted; null if undetermined.",
        nullable=True,
        allowed=("track", "playlist"),
    ),
    _text("campaign_target_isrc", "ISRC of the promoted track; track campaigns only.", nullable=True),
    _text("campaign_target_spotify_track_id", "Promoted Spotify track; track campaigns only.", nullable=True),
    _text("campaign_target_playlist_id", "Promoted Spotify playlist; playlist campaigns only.", nullable=True),
)

_COUNTRY = ExportColumn(
    name="country_code",
    type="VARCHAR",
    meaning="Listener's country by IP, ISO 3166-1 alpha-2; T1 is no country. NA is Namibia, not a missing value.",
    country=True,
)

# Events are attributed up to 7 days after a click, and there is none before the ads run or after their end.
ATTRIBUTION = Tail(days=7)

CAMPAIGN_COUNTRY_DAILY = Export(
    name="campaign_country_daily",
    path="/v1/campaigns/{campaign_id}/metrics/breakdown/export",
    title="What a campaign cost and brought, per country and day: Meta ads, attributed Spotify listening, spend.",
    grain="provider, account_id, report_date, campaign_id and country_code",
    primary_key=("provider", "account_id", DATE_COLUMN, CAMPAIGN_COLUMN, "country_code"),
    tail=ATTRIBUTION,
    columns=(
        *_IDENTITY,
        _COUNTRY,
        _count("impressions", "Meta ad impressions.", nullable=True),
        _count("ad_clicks", "All clicks on the Meta ad.", nullable=True),
        _count("link_clicks", "Outbound clicks on the landing page.", nullable=True),
        _count("streams", "Attributed Spotify streams, 7-day click-through window."),
        _count(
            "listeners",
            "Attributed unique listeners; a day's countries may be summed to the campaign's day, days may not.",
        ),
        _count("followers", "Attributed artist-follower gains."),
        _number("streams_per_listener", "streams / listeners, 0 when listeners is 0. Never average it."),
        _money("spend_media", "Billed to Meta, in currency."),
        _money("spend_total", "Billed by Soundlink = spend_media / (1 - fee share), in currency."),
        _money("fees", "spend_total - spend_media, in currency."),
        _text("currency", "Currency of the money columns, currently USD."),
        _text("currency_account", "Account billing currency, currently USD, may come to differ."),
        _number("cpl", "Cost per listener: spend_media / listeners, 0 when listeners is 0."),
        _number("cpf", "Cost per follower: spend_media / followers, 0 when followers is 0."),
        _number("cpc_linkclick", "spend_media / link_clicks, null when link_clicks is null or 0.", nullable=True),
        _number("ctr_linkclick", "link_clicks / impressions, null when impressions is null or 0.", nullable=True),
        _number("ctr_adclick", "ad_clicks / impressions, null when impressions is null or 0.", nullable=True),
        _number("cost_per_result", "Cost per result_type; currently equals cpf."),
        _text(
            "result_type",
            "What counts as a result; currently follow.",
            nullable=True,
            allowed=("lp_click", "stream", "follow"),
        ),
    ),
    measures=("streams", "listeners", "followers", "spend_media", "spend_total"),
    charted={"spend_total": "Spend", "streams": "Streams"},
    identities=(
        # Each is rounded for itself.
        Identity(name="fees_add_up", left="spend_total - spend_media", right="fees", money=True),
    ),
    ratios=(
        Ratio(column="streams_per_listener", numerator="streams", denominator="listeners", undefined="0"),
        Ratio(column="cpl", numerator="spend_media", denominator="listeners", undefined="0"),
        Ratio(column="cpf", numerator="spend_media", denominator="followers", undefined="0"),
        Ratio(column="cpc_linkclick", numerator="spend_media", denominator="link_clicks", undefined="null"),
        Ratio(column="ctr_linkclick", numerator="link_clicks", denominator="impressions", undefined="null"),
        Ratio(column="ctr_adclick", numerator="ad_clicks", denominator="impressions", undefined="null"),
    ),
)

CAMPAIGN_ENGAGEMENT_DAILY = Export(
    name="campaign_engagement_daily",
    path="/v1/campaigns/{campaign_id}/metrics/engagement/export",
    title="Who listened to which track because of a campaign, per country and day, new and returning listeners apart.",
    grain=(
        "provider, account_id, report_date, campaign_id, engagement_context, country_code and engaged_spotify_track_id"
    ),
    primary_key=(
        "provider",
        "account_id",
        DATE_COLUMN,
        CAMPAIGN_COLUMN,
        "engagement_context",
        "country_code",
        "engaged_spotify_track_id",
    ),
    columns=(
        *_IDENTITY,
        _text(
            "status",
            "Campaign's status on report_date (scheduled = before its start; ended also when refunded).",
            allowed=("active", "ended", "scheduled"),
        ),
        _text(
            "engagement_context",
            "catalog: same-artist spillover and direct plays (track campaigns); playlist: tracks inside the playlist.",
            allowed=("catalog", "playlist"),
        ),
        _COUNTRY,
        _text("engaged_track_isrc", "ISRC of the track played; may differ from the target's.", nullable=True),
        _text("engaged_spotify_track_id", "Stable id of the track played."),
        _text("engaged_track_name", "Display name of the track played."),
        _count(
            "playlist_position",
            "1-based slot; null on catalog rows, and where unavailable (often so for the current day).",
            nullable=True,
            minimum=1,
        ),
        _count("new_listeners", "Listeners whose first play of this track on this link was on report_date."),
        _count("returning_listeners", "Listeners whose first play was earlier."),
        _count("listeners", "new_listeners + returning_listeners. Never sum across days: a listener recurs."),
        _count("new_listener_streams", "Streams by new listeners."),
        _count("returning_listener_streams", "Streams by returning listeners."),
        _count("streams", "new + returning listeners' streams; across days it counts repeat listens."),
        _number("spl", "streams / listeners, 0 when listeners is 0. Never average it."),
    ),
    measures=("streams", "new_listeners"),
    charted={"new_listeners": "New listeners", "streams": "Streams"},
    identities=(
        Identity(name="listeners_add_up", left="listeners", right="new_listeners + returning_listeners"),
        Identity(name="streams_add_up", left="streams", right="new_listener_streams + returning_listener_streams"),
    ),
    ratios=(Ratio(column="spl", numerator="streams", denominator="listeners", undefined="0"),),
)
