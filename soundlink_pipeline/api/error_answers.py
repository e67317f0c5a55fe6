"""An error answer of the API, as the `SoundlinkError` that tells an operator what it means."""

from __future__ import annotations

import re
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
from soundlink_pipeline.api.key import Credential
from soundlink_pipeline.api.responses import json_body, request_id, request_id_in, retry_after
from soundlink_pipeline.wording import counted

# The API's longest window is an hour. A run that would have to wait longer ends, and says so.
_LONGEST_WAIT_SECONDS = 4000.0
_LACKS_THE_SCOPE = re.compile(r"the [a-z ]+ lacks the scope (\S+?)\.?", re.IGNORECASE)
_MIXED = "the API received two kinds of credentials; does a proxy add an Authorization header?"


def error_of(response: httpx.Response, credential: Credential, now: datetime) -> SoundlinkError:
    """What an answer other than 200 means. `now` is the clock for a Retry-After where the server sent no Date."""
    status, body = response.status_code, _body(response)
    code = credential.shown(_said(body, "code")) or None
    details = {"code": code, "request_id": request_id_in(body, credential) or request_id(response, credential)}
    message = credential.shown(_said(body, "message"))
    said = f": {message}" if message else ""
    if status == 401:
        refusal = _MIXED if code == "mixed_credentials" else credential.refusal(code or "")
        return KeyRefused(f"{refusal}{said}", **details)
    if status == 403 and code == "insufficient_scope":
        return ScopeMissing(
            f"{_lack(credential.holder, message).rstrip('.')}. Campaigns need campaigns:read (not with"
            f" {credential.ids_setting}) and metrics:read, soundlinks need soundlinks:read. {credential.wider}",
            **details,
        )
    if status == 403 and code == "access_denied":
        return AccessDenied(f"the API denies {credential.whose} access{said}", **details)
    if status == 429 or status >= 500:
        return busy_error(response, said, now, **details)
    return RequestRefused(f"the API refuses the request with HTTP {status}{said}", **details)


def _lack(holder: str, message: str) -> str:
    """That a scope is lacking; an API's message that says which one is not put behind ours, but into it."""
    if named := _LACKS_THE_SCOPE.fullmatch(message):
        return f"{holder} lacks the scope {named[1]}"
    return f"{holder} lacks a scope{f': {message}' if message else ''}"


def busy_error(response: httpx.Response, said: str, now: datetime, **details: str | None) -> SoundlinkError:
    """What a 429 or 5xx means: to be requested again, unless it is to be left alone for hours."""
    limited = response.status_code == 429
    failed = f"rate limited{said}" if limited else f"the API failed with HTTP {response.status_code}{said}"
    seconds = retry_after(response, now)
    if seconds is not None and seconds > _LONGEST_WAIT_SECONDS:
        return TurnedAway(f"{failed}; Retry-After is {counted(round(seconds / 3600), 'hour')}", **details)
    return (RateLimited if limited else ServerFault)(failed, retry_after=seconds, **details)


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
