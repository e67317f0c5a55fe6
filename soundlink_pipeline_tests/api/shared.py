"""What the client's tests share: keys, rows and a download; `MockTransport` where no simulator can."""

import json
import ssl
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.contracts.days import DateRange
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.simulator import CAMPAIGNS_READ, METRICS_READ, KeyInfo, Simulator, ndjson

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
DATES = DateRange(date(2026, 1, 1), date(2026, 1, 10))
KEY = "sk_test_9fQ2xWv7LmN4pR8sTz"
KEYS = {
    KEY: KeyInfo(),
    "sk_test_revoked": KeyInfo(revoked=True),
    "sk_test_expired": KeyInfo(expired=True),
    "sk_test_campaigns": KeyInfo(frozenset({CAMPAIGNS_READ})),
    "sk_test_metrics": KeyInfo(frozenset({METRICS_READ})),
}
QUICK = httpx.Timeout(connect=5, read=0.3, write=5, pool=None)
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used; httpx would load certificates for every client
ROWS = [
    {"campaign_name": "Sunrise\u2028Sun\u2029s\u0085et", "n": 1},
    {"campaign_name": "Robert'); DROP TABLE campaigns;--", "n": 2},
    {"campaign_name": 'The "Best" of 🎧 \\ \t לילה \n', "n": 3},
]
NDJSON = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS)
Connect = Callable[..., SoundlinkClient]
Scripted = Callable[..., SoundlinkClient]
Handler = Callable[[httpx.Request], httpx.Response]


def mocked(connect: Connect, handler: Handler, **settings: Any) -> SoundlinkClient:
    return connect(base_url="https://api.example", transport=httpx.MockTransport(handler), **settings)


def truth(server: Simulator, export: Export = CAMPAIGN_COUNTRY_DAILY, campaign: int = 0) -> bytes:
    """The bytes that the export of a campaign is, as delivered."""
    uuid = server.world.campaigns[campaign].uuid
    return ndjson(server.world.rows(export.name, uuid, DATES.start, DATES.end, NOW))


def download(client: SoundlinkClient, server: Simulator, to: Path, export: Export = CAMPAIGN_COUNTRY_DAILY) -> Any:
    return client.download(export, server.world.campaigns[0].path_id, DATES, to)


def schemes(server: Simulator) -> list[str]:
    return [record.scheme for record in server.stats.records]


def everything_said(error: BaseException) -> str:
    """What any log could show of an exception: the formatted traceback, and each one it came from."""
    said, seen = ["".join(traceback.format_exception(error))], list[BaseException]()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is not None and one not in seen:
            seen.append(one)
            said += [str(one), repr(one), repr(vars(one))]
            pending += [one.__cause__, one.__context__]
    return "\n".join(said)
