"""The addresses that the client takes, and the redirects that it follows: none leads the key elsewhere."""

from pathlib import Path

import httpx
import pytest

from soundlink_pipeline.api.errors import RedirectRefused, SoundlinkError
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY
from soundlink_pipeline.settings.urls import checked_base_url
from soundlink_pipeline.simulator import Simulator, running_simulator
from soundlink_pipeline_tests.api.shared import Connect, download, schemes, truth


def test_a_redirect_within_the_host_is_followed_with_the_key(
    server: Simulator, connect: Connect, tmp_path: Path
) -> None:
    campaign = server.world.campaigns[0].uuid
    there = CAMPAIGN_COUNTRY_DAILY.path.format(id=campaign) + "?startDate=2026-01-01&endDate=2026-01-10"
    for location in (there, server.base_url + there):
        server.faults.add("redirect", location=location)
        download(connect(), server, tmp_path / "export")
        assert (tmp_path / "export").read_bytes() == truth(server)
    assert schemes(server) == ["bearer"] * 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_refused_and_the_key_stays_here(
    server: Simulator, connect: Connect, status: int
) -> None:
    with running_simulator() as other:
        server.faults.add("redirect", location=f"{other.base_url}/v1/ping", status=status)
        with pytest.raises(RedirectRefused, match=r"the key is for 127\.0\.0\.1 alone") as raised:
            connect().ping()
        assert raised.value.fatal
        assert other.stats.records == []
    assert len(server.stats.records) == 1


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1/v1/ping",
        "//elsewhere.invalid/v1/ping",
        "http://localhost/v1/ping",
        "ftp://127.0.0.1/",
        "http://user:password@{here}/v1/ping",  # would add an Authorization header of its own
    ],
)
def test_a_redirect_that_is_not_quite_here_is_refused(server: Simulator, connect: Connect, location: str) -> None:
    server.faults.add("redirect", location=location.format(here=server.base_url.removeprefix("http://")))
    with pytest.raises(RedirectRefused):
        connect().ping()
    assert len(server.stats.records) == 1


@pytest.mark.parametrize("location", ["http://127.0.0.1:99:99/", "https://xn--a.com/", "/v1/ping", ""])
def test_a_redirect_to_nowhere_or_in_circles_ends(server: Simulator, connect: Connect, location: str) -> None:
    server.faults.add("redirect", location=location, times=None)
    with pytest.raises(SoundlinkError, match=r"redirects|Invalid URL in location header"):
        connect().ping()
    assert len(server.stats.records) <= 4


@pytest.mark.parametrize(
    "url",
    [
        "https://api.getsoundlink.com",
        " https://api.getsoundlink.com/ ",
        "http://127.0.0.1:8000",
        "http://127.8.9.1",
        "http://localhost:1",
        "http://[::1]:8000",
        "https://proxy.example/soundlink",
    ],
)
def test_a_safe_address_is_taken(url: str) -> None:
    assert str(checked_base_url(url)) == url.strip().rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.getsoundlink.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://0.0.0.0",
        "http://192.168.0.1",
        "http://[::2]",
        "ftp://127.0.0.1",
        "api.getsoundlink.com",
        "https://",
        "",
        "https://user:password@api.getsoundlink.com",
        "https://api.getsoundlink.com?x=1",
        "https://api.getsoundlink.com#x",
        "https://xn--a.com",
        "http://localhost:port",
        "https://a\nb",
    ],
)
def test_an_address_that_would_give_the_key_away_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="SOUNDLINK_BASE_URL") as refused:
        checked_base_url(url)
    assert "password" not in str(refused.value).replace("user name or password", "")


def test_a_base_path_is_kept(connect: Connect) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={})

    connect(base_url="https://proxy.example/soundlink/", transport=httpx.MockTransport(answer)).ping()
    assert asked == ["https://proxy.example/soundlink/v1/ping"]


def test_plain_http_on_loopback_goes_through_no_proxy(
    server: Simulator, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    connect(tries=1, transport=None).ping()
    assert schemes(server) == ["bearer"]
