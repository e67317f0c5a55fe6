"""The client's secret and its tokens: sent to one host, and shown nowhere."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import httpx
import pytest

from soundlink_pipeline.api.errors import (
    NoToken,
    RedirectRefused,
    SoundlinkError,
)
from soundlink_pipeline.api.oauth import (
    TOKEN_PATH,
    OAuthClient,
    Token,
    Tokens,
)
from soundlink_pipeline.simulator import Simulator
from soundlink_pipeline_tests.api.oauth.shared import (
    SECRET,
    A,
    Connect,
    account,
    asked_for,
    granted,
    mocked,
)
from soundlink_pipeline_tests.api.shared import QUICK, everything_said
from soundlink_pipeline_tests.support.wire import head, serving


@pytest.mark.parametrize("status", [307, 308])
def test_secret_and_token_are_sent_to_the_configured_host_alone(
    server: Simulator, connect: Connect, status: int
) -> None:
    def answer(connection: socket.socket, _: str) -> bool:
        connection.sendall(head("Content-Length: 0"))
        return False

    with serving(answer) as elsewhere:
        to = f"{elsewhere.url}/v1/ping"
        # After a new token, too.
        server.faults.add("status", match="/v1/ping", status=401, code="invalid_token")
        server.faults.add("redirect", match="/v1/ping", location=to, status=status)
        with pytest.raises(RedirectRefused):
            connect().ping()
        assert asked_for(server) == 2
        server.faults.add("redirect", match=TOKEN_PATH, location=to, status=status)
        with pytest.raises(NoToken, match="the client's secret is for 127"):
            connect(account("label_a", A)).ping()
        assert elsewhere.asked == []


@pytest.mark.parametrize("says_back", ["the API", "the token endpoint", "its content type", "its code"])
def test_secret_and_token_are_shown_nowhere(
    connect: Connect,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    says_back: str,
) -> None:
    token, given = "tok-9Zx8Yw7Vu6Ts5Rq4", list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        said = f"{request.headers.get('authorization')} {request.content.decode()}"
        if request.url.path != TOKEN_PATH:
            assert request.headers["authorization"] == f"Bearer {given[-1]}"
            return httpx.Response(400, json={"error": {"code": said, "message": said}, "meta": {"requestId": said}})
        assert SECRET in request.content.decode()
        given.append(token)
        match says_back:
            case "the token endpoint":
                return httpx.Response(200, text=said, headers={"x-request-id": said})
            case "its content type":
                return httpx.Response(200, text="{", headers={"content-type": f"text/{SECRET}"})
            case "its code":
                return httpx.Response(400, json={"error": said})
        return granted(token)

    told: list[str] = []
    client = mocked(connect, answer, log=told.append, timeout=QUICK)
    with caplog.at_level(logging.DEBUG), pytest.raises(SoundlinkError) as raised:
        client.ping()
    said = [everything_said(raised.value), repr(client), str(vars(client)), caplog.text, *told, *capfd.readouterr()]
    said += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    for part in (SECRET, SECRET[3:], token):
        assert part.lower() not in "\n".join(said).lower()


def test_no_library_logs_a_secret_or_a_token_on_its_way(
    server: Simulator, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        connect().ping()
    (token,) = server.oauth._tokens
    said = caplog.text + "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())
    assert "POST" in caplog.text
    for part in (SECRET, SECRET[3:], token):
        assert part not in said


@pytest.mark.parametrize("secret", ["", "  ", "s3cr\u00e9t-part", "s3cr\net-part"])
def test_a_secret_that_cannot_be_one_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^AGENCY_SECRET, the client's secret of account label_b, ") as refused:
        OAuthClient(account(), secret)
    assert "part" not in str(refused.value)


def test_what_holds_secrets_shows_none(tokens: Tokens) -> None:
    client, slot, token = OAuthClient(account(), SECRET), tokens.slot("x"), Token("tok-9Zx8Yw7Vu6Ts5Rq4", 9e9)
    held = slot.current(lambda: token)
    shown = " ".join(repr(one) + str(one) for one in (client, tokens, slot, token, account()))
    assert SECRET not in shown
    assert held not in shown
