"""Delivers a message to a webhook in bounded time and attempts, without ever showing its URL, which is a secret."""

import asyncio
import logging
import random
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import tenacity

from soundlink_pipeline.channels.harmless import clean, cut, hidden
from soundlink_pipeline.channels.receiver import NotDelivered
from soundlink_pipeline.settings.proxies import proxy_for

_TRY_SECONDS = 10.0
_TRIES_AT_ONCE = 3
_FIRST_BACKOFF_SECONDS = 0.5


def deliver(url: httpx.URL, body: dict[str, Any], seconds: float) -> None:
    """Send a message within so many seconds, in up to three attempts. Raises NotDelivered.

    After an answer that came too late the message is sent again: rather twice than never. Its `run_id` identifies it.
    """
    until = time.monotonic() + seconds

    def attempt() -> None:
        with _nothing_logged():
            asyncio.run(_post(url, body, min(until - time.monotonic(), _TRY_SECONDS)))

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, NotDelivered) and error.passing),
        stop=tenacity.stop_after_attempt(_TRIES_AT_ONCE) | tenacity.stop_before_delay(seconds),
        wait=_backoff,
        reraise=True,
    )
    retrying(attempt)


async def _post(url: httpx.URL, body: dict[str, Any], seconds: float) -> None:
    """One attempt. httpx limits each read; the whole time is limited here, also for a receiver that drips bytes."""
    # Plain http is for loopback and needs none of the certificates that httpx takes long to load.
    verify = url.scheme == "https" or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        transport = httpx.AsyncHTTPTransport(verify=verify, proxy=proxy_for(url), trust_env=url.scheme == "https")
    except ValueError as error:
        raise NotDelivered(str(error), passing=False) from None
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(
                timeout=httpx.Timeout(connect=5.0, read=_TRY_SECONDS, write=_TRY_SECONDS, pool=None),
                follow_redirects=False,
                headers={"user-agent": "soundlink-pipeline"},
                transport=transport,
            ) as client,
            client.stream("POST", url, json=body) as response,
        ):
            if response.is_success:
                return
            raise await _refusal(url, response)
    except (TimeoutError, httpx.TimeoutException):
        raise NotDelivered("the receiver did not answer in time", passing=True) from None
    except (httpx.HTTPError, httpx.StreamError) as fault:
        reason = hidden(str(url), str(fault)) or type(fault).__name__
        raise NotDelivered(f"the receiver could not be reached: {reason}", passing=True) from None


async def _refusal(url: httpx.URL, response: httpx.Response) -> NotDelivered:
    status = response.status_code
    if response.is_redirect:
        return NotDelivered(
            f"the receiver redirects (HTTP {status}), which is not followed: set its setting to the target",
            passing=False,
        )
    beginning = b""
    async for chunk in response.aiter_bytes():
        beginning += chunk
        if len(beginning) > 2000:
            break
    text = hidden(str(url), clean(beginning.decode("utf-8", "replace")))
    return NotDelivered(
        f"the receiver answered HTTP {status}" + (f": {cut(text, 200)}" if text else ""),
        passing=status >= 500 or status in (408, 425, 429),
        retry_after=_retry_after(response),
    )


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "").strip()
    return float(text) if re.fullmatch(r"[0-9]{1,6}", text) else 0.0


def _backoff(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, NotDelivered) else 0.0
    longest = _FIRST_BACKOFF_SECONDS * 2**state.attempt_number
    return asked + random.uniform(longest / 2, longest)  # noqa: S311


@contextmanager
def _nothing_logged() -> Iterator[None]:
    """httpx logs each request with its URL, which is the secret here, and httpcore what a redirect says of it."""
    here = threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return record.thread != here

    loggers = [logging.getLogger(name) for name in ("httpx", "httpcore.http11")]
    for logger in loggers:
        logger.addFilter(of_others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(of_others)
