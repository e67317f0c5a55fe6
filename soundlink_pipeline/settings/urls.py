"""The URLs a user may set: each checked, so that no secret is sent in clear. httpx parses them, as it also sends."""

from __future__ import annotations

import ipaddress

import httpx


def checked_base_url(text: str) -> httpx.URL:
    """The API's base URL, or a ValueError: https, or http on loopback only, so that the key is never sent in clear."""
    try:
        url = httpx.URL(text.strip().rstrip("/"))
        host = url.host
    except (httpx.InvalidURL, ValueError) as error:  # ValueError: a host name that IDNA does not allow
        raise ValueError(f"SOUNDLINK_BASE_URL is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not host or url.query or url.fragment:
        raise ValueError("SOUNDLINK_BASE_URL must be a URL such as https://api.getsoundlink.com")
    if url.userinfo:
        raise ValueError("SOUNDLINK_BASE_URL must hold no user name or password")
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError(f"SOUNDLINK_BASE_URL is plain http to {host}: the key would travel in clear; use https")
    return url


def checked_webhook(name: str, text: str) -> httpx.URL:
    """The webhook that the setting `name` holds, or a ValueError that does not show it: https, or http on loopback."""
    try:
        url = httpx.URL(text.strip())
        host = url.host
    except (httpx.InvalidURL, ValueError):
        raise ValueError(f"{name} is not a URL (it is not shown: it is a secret)") from None
    if url.scheme not in ("http", "https") or not host:
        raise ValueError(f"{name} must be a URL such as https://hooks.slack.com/services/…")
    if url.userinfo:
        raise ValueError(f"{name} must hold no user name or password")
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError(f"{name} is plain http: the secret in it would travel in clear; use https")
    return url


def checked_ui_url(text: str) -> str:
    """Where people reach the Dagster UI, without a slash at the end, or a ValueError."""
    try:
        url = httpx.URL(text.strip().rstrip("/"))
        host = url.host
    except (httpx.InvalidURL, ValueError):
        raise ValueError("it is not a URL") from None
    if url.scheme not in ("http", "https") or not host or url.userinfo or url.query or url.fragment:
        raise ValueError("must be a URL such as http://127.0.0.1:3000, without user name and query")
    return str(url).rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
