"""Which proxy a request goes through, and a proxy that cannot be used: one sentence that shows no password."""

from __future__ import annotations

import sys
from types import ModuleType

import httpx
import pytest

from soundlink_pipeline.settings.proxies import proxy_for
from soundlink_pipeline.settings.settings import settings_from

API = "https://api.getsoundlink.com"
LOCAL = "http://127.0.0.1:8765"


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        (API, {}, None),
        (API, {"https_proxy": "http://p:3128"}, "http://p:3128"),
        (API, {"HTTPS_PROXY": " p:3128 "}, "http://p:3128"),
        (API, {"HTTPS_PROXY": "http://someone:p%40ss@p:3128/"}, "http://someone:p%40ss@p:3128/"),
        (API, {"HTTPS_PROXY": "https://p"}, "https://p"),
        (API, {"HTTPS_PROXY": "http://[2001:db8::1]:3128"}, "http://[2001:db8::1]:3128"),
        (API, {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        (API, {"ALL_PROXY": "http://p:1", "HTTPS_PROXY": "http://p:2"}, "http://p:2"),
        (API, {"HTTPS_PROXY": "http://p:1", "https_proxy": "http://p:2"}, "http://p:2"),
        (API, {"HTTPS_PROXY": "http://p:1", "https_proxy": ""}, None),
        (API, {"HTTPS_PROXY": "", "ALL_PROXY": "http://p:1"}, "http://p:1"),
        (API, {"HTTP_PROXY": "http://p:1", "FTP_PROXY": "http://p:2"}, None),
        (API, {"https_proxy": "http://p:1", "NO_PROXY": "getsoundlink.com"}, None),
        (API, {"https_proxy": "http://p:1", "NO_PROXY": "x.example, .getsoundlink.com"}, None),
        (API, {"https_proxy": "http://p:1", "NO_PROXY": "*"}, None),
        (API, {"https_proxy": "http://p:1", "NO_PROXY": "x.example", "no_proxy": "getsoundlink.com"}, None),
        (API, {"https_proxy": "http://p:1", "NO_PROXY": "soundlink.com"}, "http://p:1"),
        # What httpx stumbles over.
        (API, {"https_proxy": "http://p:1", "NO_PROXY": "[::1]"}, "http://p:1"),
        (API, {"https_proxy": "http://p:1", "NO_PROXY": "[::1"}, "http://p:1"),
        (API, {"https_proxy": "http://p:1", "NO_PROXY": "fe80::/10, 10.0.0.0/8, http://x:99999"}, "http://p:1"),
        (API, {"https_proxy": "http://p:1", "ALL_PROXY": "socks://q:1"}, "http://p:1"),
        ("https://[2001:db8::1]:8443", {"https_proxy": "http://p:1", "NO_PROXY": "[2001:db8::1]"}, None),
        ("https://[2001:db8::1]:8443", {"https_proxy": "http://p:1", "NO_PROXY": "2001:db8::1"}, None),
        ("https://api.example:8443", {"https_proxy": "http://p:1", "NO_PROXY": "api.example:8443"}, None),
        # This machine.
        (LOCAL, {"http_proxy": "http://p:1", "all_proxy": "http://p:1"}, None),
        ("https://127.0.0.1:8765", {"https_proxy": "http://p:1"}, None),
        ("https://[::1]:8765", {"https_proxy": "http://p:1"}, None),
        ("https://localhost", {"all_proxy": "socks5://p:1"}, None),
    ],
)
def test_the_proxy_of_a_request(url: str, environment: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(httpx.URL(url), environment) == proxy


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("socks5://someone:hidden@p:1080", "is a SOCKS proxy, which needs the package socksio"),
        ("socks5h://p", "is a SOCKS proxy, which needs the package socksio"),
        ("socks4://p:1080", "must begin with http:// or https://"),
        ("socks://someone:hidden@p", "must begin with http:// or https://"),
        ("ftp://p", "must begin with http:// or https://"),
        ("direct://", "must begin with http:// or https://"),
        ("://p:1", "must begin with http:// or https://"),
        ("http://someone:hidden@p:99999", "has a port that is no number from 1 to 65535"),
        ("http://p:0", "has a port that is no number from 1 to 65535"),
        ("p:-1", "has a port that is no number from 1 to 65535"),
        ("http://someone:hidden@p:three", "is not a URL"),
        ("http://someone:hidden", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://p:80\n80", "is not a URL"),
        ("http://xn--\ud800", "is not a URL"),
        ("http://", "is not a host and a port"),
        ("http://:8080", "is not a host and a port"),
        ("*", "is not a host and a port"),
        ("http://p q:8080", "is not a host and a port"),
        ("http://someone:hid@den@p q:8080", "is not a host and a port"),
        ("http:/p:8080", "is not a host and a port"),
        ("http//p:8080", "is not a host and a port"),
        ("http://p/proxy.pac", "is not a host and a port"),
        ("http://p:1?hidden", "is not a host and a port"),
    ],
)
@pytest.mark.parametrize("name", ["https_proxy", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_a_setting_that_cannot(name: str, proxy: str, problem: str) -> None:
    with pytest.raises(ValueError, match=rf"^the setting {name} cannot be used: ") as raised:
        settings_from({name: proxy})
    told = str(raised.value)
    assert problem in told
    assert "\n" not in told
    assert not any(part in told for part in ("hidden", "someone", "hid@den"))
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize(
    "environment",
    [
        {"SOUNDLINK_BASE_URL": LOCAL},
        {"SOUNDLINK_BASE_URL": LOCAL, "SOUNDLINK_ALERT_URL": "http://localhost/x"},
        {"NO_PROXY": "api.getsoundlink.com"},
        {"https_proxy": "http://p:1"},
    ],
    ids=str,
)
def test_a_proxy_that_no_request_would_take_may_be_anything(environment: dict[str, str]) -> None:
    settings_from({"all_proxy": "socks5://p:1", "http_proxy": "socks5://p:1", **environment})


def test_the_receiver_of_alerts_may_need_the_proxy_too() -> None:
    alerts = {"SOUNDLINK_BASE_URL": LOCAL, "SOUNDLINK_ALERT_URL": "https://hooks.example/x"}
    with pytest.raises(ValueError, match=r"^the setting all_proxy cannot be used"):
        settings_from({"all_proxy": "socks5://p:1", **alerts})


def test_a_socks_proxy_can_be_used_where_its_package_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("socksio")
    package.__spec__ = sys.__spec__
    monkeypatch.setitem(sys.modules, "socksio", package)
    assert proxy_for(httpx.URL(API), {"all_proxy": "socks5://p:1080"}) == "socks5://p:1080"
    with pytest.raises(ValueError, match="has a port"):
        proxy_for(httpx.URL(API), {"all_proxy": "socks5://p:99999"})
