"""The proxy that requests go through: of the variables HTTPS_PROXY, ALL_PROXY and NO_PROXY, or of the system.

httpx would read them itself, where a client is made: a bad one ends in a traceback there, also one that is not needed.
"""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Mapping
from importlib.util import find_spec

import httpx

from soundlink_pipeline.settings.urls import is_loopback


def proxy_for(url: httpx.URL, environment: Mapping[str, str] | None = None) -> str | None:
    """The URL of the proxy for requests to `url`, or None. By default the process's own environment counts.

    Plain http and this machine take no proxy, through which the key would leave the machine. Raises ValueError for a
    proxy that cannot be used: one sentence that names the variable and shows nothing of it, since it may hold a
    password.
    """
    if url.scheme != "https" or is_loopback(url.host):
        return None
    environment = os.environ if environment is None else environment
    variables = {name: _variable(f"{name}_proxy", environment) for name in ("https", "all", "no")}
    proxies = {name: text for name, variable in variables.items() if (text := environment.get(variable, "").strip())}
    hosts = {url.netloc.decode("ascii"), url.host}
    setting = "the setting {}" if proxies else "the system's setting for {}"
    if proxies:
        excepted = any(urllib.request.proxy_bypass_environment(host, proxies) for host in hosts)  # type: ignore[attr-defined]
    else:  # of macOS or Windows; urllib does not ask it either where a variable says something
        proxies = urllib.request.getproxies()
        excepted = any(urllib.request.proxy_bypass(host) for host in hosts)
    name = "https" if proxies.get("https") else "all"
    if excepted or not proxies.get(name):
        return None
    proxy = proxies[name] if "://" in proxies[name] else f"http://{proxies[name]}"
    if problem := _problem(proxy):
        raise ValueError(
            f"{setting.format(variables[name])} cannot be used: the proxy it names (not shown: it may hold a password)"
            f" {problem}"
        )
    return proxy


def _variable(name: str, environment: Mapping[str, str]) -> str:
    """As `urllib` and curl have it: in small letters it comes first, also where it is empty."""
    return name if name in environment else name.upper()


def _problem(proxy: str) -> str | None:
    """What is wrong with a proxy's URL."""
    try:
        url = httpx.URL(proxy)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError):  # ValueError: a host name that IDNA does not allow
        return "is not a URL such as http://proxy.example:3128"
    if url.scheme not in ("http", "https", "socks5", "socks5h"):
        return "must begin with http:// or https://"
    if url.scheme.startswith("socks") and not find_spec("socksio"):
        return "is a SOCKS proxy, which needs the package socksio; install it, or name an HTTP proxy"
    # A path: as of a .pac file, or where http:// is misspelt.
    if not re.fullmatch(r"[\w.-]+|[0-9a-f:.]+", host, re.ASCII) or url.path.strip("/") or url.query or url.fragment:
        return "is not a host and a port, such as http://proxy.example:3128"
    if url.port is not None and not 0 < url.port < 1 << 16:
        return "has a port that is no number from 1 to 65535"
    return None
