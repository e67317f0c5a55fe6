"""The exports about campaigns as data: for each one its API path, primary key and every column with its rules.

Source: the vendor's export contract, schema version 1.0. The tables and their comments, the way a delivery is read, the
rules it is checked against and `docs/exports.md` are all derived from here.
"""

from __future__ import annotations

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.columns import (
    COUNTRY,
    ENGAGEMENT_KEY,
    SPLITS_ADD_UP,
    STREAMS_PER_LISTENER,
    count,
    engagement,
    identity,
    money,
    number,
    text,
)
from soundlink_pipeline.contracts.schema import DATE_COLUMN, Export, Identity, Ratio
from soundlink_pipeline.contracts.subject import Tail

_IDENTITY = identity(
    CAMPAIGN,
    "Campaign UUID, stable for its lifetime; may differ from the id the API lists.",
    targets=("track", "playlist"),
)

# What a key needs for the metrics of a campaign, its exports among them.
METRICS = "metrics:read"
# Events are attributed up to 7 days after a click, and there is none before the ads run or after their end.
ATTRIBUTION = Tail(days=7)
# Listening goes on, for as long as nobody says. A refresh reaches 8 days back, so that a campaign with rows on one of
# the last 14 days pulled is asked for again, and every day expected gets its final pull.
LISTENING = Tail(days=30, after_rows=7, probed=True, before_start=True)

CAMPAIGN_COUNTRY_DAILY = Export(
    name="campaign_country_daily",
    subject=CAMPAIGN,
    scope=METRICS,
    path="/v1/campaigns/{id}/metrics/breakdown/export",
    title="What a campaign cost and brought, per country and day: Meta ads, attributed Spotify listening, spend.",
    grain="provider, account_id, report_date, campaign_id and country_code",
    primary_key=("provider", "account_id", DATE_COLUMN, CAMPAIGN.id_column, "country_code"),
    tail=ATTRIBUTION,
    columns=(
        *_IDENTITY,
        COUNTRY,
        count("impressions", "Meta ad impressions.", nullable=True),
        count("ad_clicks", "All clicks on the Meta ad.", nullable=True),
        count("link_clicks", "Outbound clicks on the landing page.", nullable=True),
        count("streams", "Attributed Spotify streams, 7-day click-through window."),
        count(
            "listeners",
            "Attributed unique listeners; a day's countries may be summed to the campaign's day, days may not.",
        ),
        count("followers", "Attributed artist-follower gains."),
        number("streams_per_listener", "streams / listeners, 0 when listeners is 0. Never average it."),
        money("spend_media", "Billed to Meta, in currency."),
        money("spend_total", "Billed by Soundlink = spend_media / (1 - fee share), in currency."),
        money("fees", "spend_total - spend_media, in currency."),
        text("currency", "Currency of the money columns, currently USD."),
        text("currency_account", "Account billing currency, currently USD, may come to differ."),
        number("cpl", "Cost per listener: spend_media / listeners, 0 when listeners is 0."),
        number("cpf", "Cost per follower: spend_media / followers, 0 when followers is 0."),
        number("cpc_linkclick", "spend_media / link_clicks, null when link_clicks is null or 0.", nullable=True),
        number("ctr_linkclick", "link_clicks / impressions, null when impressions is null or 0.", nullable=True),
        number("ctr_adclick", "ad_clicks / impressions, null when impressions is null or 0.", nullable=True),
        number("cost_per_result", "Cost per result_type; currently equals cpf."),
        text(
            "result_type",
            "What counts as a result; currently follow.",
            nullable=True,
            allowed=("lp_click", "stream", "follow"),
        ),
        # Only the newest documentation names these, and no definition: nothing says that they add up to listeners.
        count("new_listeners", "Listeners who are new; null if not told.", nullable=True),
        count("returning_listeners", "Listeners who are not new; null if not told.", nullable=True),
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
    subject=CAMPAIGN,
    scope=METRICS,
    path="/v1/campaigns/{id}/metrics/engagement/export",
    title="Who listened to which track because of a campaign, per country and day, new and returning listeners apart.",
    grain=(
        "provider, account_id, report_date, campaign_id, engagement_context, country_code and engaged_spotify_track_id"
    ),
    primary_key=("provider", "account_id", DATE_COLUMN, CAMPAIGN.id_column, *ENGAGEMENT_KEY),
    tail=LISTENING,
    columns=(
        *_IDENTITY,
        text(
            "status",
            "Campaign's status on report_date (scheduled = before its start; ended also when refunded).",
            allowed=("active", "ended", "scheduled"),
        ),
        *engagement(
            "catalog: same-artist spillover and direct plays (track campaigns); playlist: tracks inside the playlist."
        ),
    ),
    measures=("streams", "new_listeners"),
    charted={"new_listeners": "New listeners", "streams": "Streams"},
    identities=SPLITS_ADD_UP,
    ratios=(STREAMS_PER_LISTENER,),
)

CAMPAIGN_EXPORTS: tuple[Export, ...] = (CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY)
