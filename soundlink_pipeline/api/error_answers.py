"""An error answer of the API, as the `SoundlinkError` that tells an operator what it means."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx

from soundlink_pipeline.api.errors import (
    AccessDenied,
    KeyRefused,
    RateLimited,
    RequestRefused,
    ScopeMissing,
    ServerFault,
    SoundlinkError,
    TurnedAway,
)
from soundlink_pipeline.api.key import ApiKey
from soundlink_pipeline.api.responses import json_body, request_id, request_id_in, retry_after
from soundlink_pipeline.wording import counted

# The API's longest window is an hour. A run that would have to wait longer ends, and says so.
_LONGEST_WAIT_SECONDS = 4000.0
_KEY_MESSAGES = {
    "invalid_api_key": "the API does not know this key; check SOUNDLINK_API_KEY",
    "invalid_token": "the API does not accept this key as a token; check SOUNDLINK_API_KEY and SOUNDLINK_AUTH",
    "api_key_revoked": "this API key was revoked; create a new one and put it into SOUNDLINK_API_KEY",
    "api_key_expired": "this API key has expired; create a new one and put it into SOUNDLINK_API_KEY",
    "mixed_credentials": "the API received two kinds of credentials; does a proxy add an Authorization header?",
}


def error_of(response: httpx.Response, key: ApiKey, now: datetime) -> SoundlinkError:
    """What an answer other than 200 means. `now` is the clock for a Retry-After where the server sent no Date."""
    status, body = response.status_code, _body(response)
    code = key.shown(_said(body, "code")) or None
    details = {"code": code, "request_id": request_id_in(body, key) or request_id(response, key)}
    message = key.shown(_said(body, "message"))
    said = f": {message}" if message else ""
    if status == 401:
        return KeyRefused(f"{_KEY_MESSAGES.get(code or '', 'the API refuses the key')}{said}", **details)
    if status == 403 and code == "insufficient_scope":
        return ScopeMissing(
            f"the API key lacks a scope{said.rstrip('.')}. Campaigns need campaigns:read (not with"
            " SOUNDLINK_CAMPAIGN_IDS) and metrics:read, soundlinks need soundlinks:read. A key's scopes never change:"
            " create a new key, and put it into SOUNDLINK_API_KEY",
            **details,
        )
    if status == 403 and code == "access_denied":
        return AccessDenied(f"the API denies this key's organization access{said}", **details)
    if status == 429 or status >= 500:
        failed = f"rate limited{said}" if status == 429 else f"the API failed with HTTP {status}{said}"
        seconds = retry_after(response, now)
        if seconds is not None and seconds > _LONGEST_WAIT_SECONDS:
            return TurnedAway(f"{failed}; Retry-After is {counted(round(seconds / 3600), 'hour')}", **details)
        kind = RateLimited if status == 429 else ServerFault
        return kind(failed, retry_after=seconds, **details)
    return RequestRefused(f"the API refuses the request with HTTP {status}{said}", **details)


def error_code(response: httpx.Response) -> str:
    """The API's own code of an error, empty where the answer names none."""
    return _said(_body(response), "code")


def _body(response: httpx.Response) -> Any:
    """The status alone decides; the body may be missing, malformed or cut off."""
    with suppress(ValueError, httpx.HTTPError, httpx.StreamError):
        return json_body(response)
    return None


def _said(body: Any, name: str) -> str:
    with suppress(KeyError, TypeError, AttributeError):
        return str(body["error"].get(name) or "")
    return ""
