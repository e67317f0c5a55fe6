"""No server answers, or none that can be trusted: one clear sentence says why."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.api.errors import Unreachable
from soundlink_pipeline.api.retrying import TRIES
from soundlink_pipeline.simulator import Simulator
from soundlink_pipeline_tests.support.project import KEY
from soundlink_pipeline_tests.support.wire import head, serving
from soundlink_pipeline_tests.trials.network.account import PATIENT
from soundlink_pipeline_tests.trials.network.raw import ROWS, asking, length, sends


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def unreachable(url: str, folder: Path) -> str:
    with asking(url, folder, timeout=PATIENT, transport=None) as ask:
        with pytest.raises(Unreachable) as raised:
            ask.rows()
        assert ask.client.requests == TRIES
        assert len(ask.log) == TRIES - 1
        assert KEY not in "\n".join([str(raised.value), *ask.log])
        assert 15 <= sum(ask.clock.waits) <= 31
    return str(raised.value)


@pytest.mark.usefixtures("no_proxy")
def test_a_name_that_nobody_knows_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver's own answer, which may take long or need a network, is given here."""
    known = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        if host in ("api.soundlink.invalid", b"api.soundlink.invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    told = unreachable("https://api.soundlink.invalid", tmp_path)
    assert re.fullmatch(r"api\.soundlink\.invalid could not be reached: .*Name or service not known", told)


@pytest.mark.usefixtures("no_proxy")
def test_a_port_where_nobody_listens_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        told = unreachable(f"https://127.0.0.1:{taken.getsockname()[1]}", tmp_path)
    assert re.fullmatch(r"127\.0\.0\.1 could not be reached: .*refused", told)


@pytest.mark.usefixtures("no_proxy")
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", *subject, *files],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serving(sends(head(length(ROWS)), ROWS), tls) as wire:
        told = unreachable(wire.url, tmp_path)
        assert wire.asked == []  # and so the key never left
    assert re.search("127.0.0.1 could not be reached: .*certificate verify failed: self-signed", told)


@pytest.mark.usefixtures("no_proxy")
def test_a_server_without_tls_where_it_is_due_is_told(api: Simulator, tmp_path: Path) -> None:
    told = unreachable(api.base_url.replace("http:", "https:"), tmp_path)
    assert re.search(r"127\.0\.0\.1 could not be reached: .*(wrong version number|record layer failure)", told, re.I)
    assert api.stats.records == []


@pytest.mark.usefixtures("no_proxy")
def test_a_server_with_tls_that_agrees_on_nothing_is_told(tmp_path: Path) -> None:
    with serving(sends(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as wire:
        told = unreachable(wire.url, tmp_path)
    assert re.search(r"127\.0\.0\.1 could not be reached: .*handshake failure", told)
