"""Mail over a real SMTP server: what arrives, and what is said where it does not, without the password."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from soundlink_pipeline.channels.receiver import File, Message, NotDelivered
from soundlink_pipeline.channels.send import send
from soundlink_pipeline.settings.receivers import Receiver
from soundlink_pipeline_tests.support.mail_server import PASSWORD, USER, MailServer, mail_server, make_certificate

PNG = b"\x89PNG\r\n\x1a\nnot really"
MESSAGE = Message(
    title="Week 47: 1,234 streams – ümläut",
    text="1,234 streams.\nFor 12.00 EUR.",
    slack="",
    html='<p>1,234 streams.</p><img src="cid:streams" alt="Streams per day">',
    pictures=(File("streams.png", "image/png", PNG, "streams"),),
    files=(File("report.html", "text/html", "<h1>Größe</h1>".encode()),),
)
_SECRETS = (USER, PASSWORD, quote(PASSWORD, safe=""), "SECRET", "anna@example.com")


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as made:
        yield made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def url_of(port: int, scheme: str = "mailto", to: str = "anna@example.com", more: str = "") -> str:
    login = f"{USER}:{quote(PASSWORD, safe='')}"
    return f"{scheme}://{login}@127.0.0.1:{port}/?from=reports@example.com&to={to}{more}"


def sent(url: str, message: Message = MESSAGE, seconds: float = 20) -> str:
    return send(Receiver(url, "SOUNDLINK_REPORT_URL"), message, seconds)


def test_a_mail_has_text_html_with_its_picture_inline_and_the_page_attached(server: MailServer) -> None:
    assert sent(url_of(server.port)) == ""
    [arrived] = server.arrived
    mail = arrived.mail
    assert (arrived.user, arrived.recipients) == (USER, ["anna@example.com"])
    assert (mail["Subject"], mail["Auto-Submitted"]) == (MESSAGE.title, "auto-generated")
    assert mail["From"].addresses[0].addr_spec == "reports@example.com"
    assert mail["Date"]
    assert mail["Message-ID"].endswith("@example.com>")
    assert mail.get_content_type() == "multipart/mixed"
    alternative, page = mail.iter_parts()
    text, related = alternative.iter_parts()
    html, picture = related.iter_parts()
    assert (alternative.get_content_type(), related.get_content_type()) == (
        "multipart/alternative",
        "multipart/related",
    )
    assert text.get_content().split() == MESSAGE.text.split()
    assert 'src="cid:streams"' in html.get_content()
    assert (picture["Content-ID"], picture.get_content_type()) == ("<streams>", "image/png")
    assert picture.get_content_disposition() == "inline"
    assert picture.get_content() == PNG
    assert (page.get_filename(), page.get_content_disposition()) == ("report.html", "attachment")
    assert page.get_payload(decode=True) == "<h1>Größe</h1>".encode()


def test_a_mail_without_html_is_plain_text(server: MailServer) -> None:
    sent(url_of(server.port), Message(title="Failed", text="daily_refresh failed", slack=""))
    mail = server.arrived[0].mail
    assert (mail.get_content_type(), mail.get_content().strip()) == ("text/plain", "daily_refresh failed")


@pytest.mark.parametrize("mode", ["starttls", "ssl"])
def test_the_password_travels_encrypted(
    certificate: tuple[ssl.SSLContext, Path], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, file = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with mail_server(context, implicit=mode == "ssl") as server:
        sent(url_of(server.port, "mailtos", more=f"&mode={mode}"))
    assert [(arrived.encrypted, arrived.user) for arrived in server.arrived] == [(True, USER)]


def test_a_server_whose_certificate_nobody_vouches_for_gets_no_password(
    certificate: tuple[ssl.SSLContext, Path],
) -> None:
    with mail_server(certificate[0]) as server:
        refused = refusal(url_of(server.port, "mailtos", more="&mode=starttls"))
    assert "the certificate of the mail server is not trusted" in str(refused)
    assert not refused.passing
    assert server.arrived == []


def refusal(url: str, seconds: float = 20) -> NotDelivered:
    with pytest.raises(NotDelivered) as raised:
        sent(url, seconds=seconds)
    assert raised.value.__cause__ is None
    for secret in _SECRETS:
        assert secret not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    ("word", "answer", "reason", "passing"),
    [
        ("AUTH", f"535 5.7.8 wrong: {USER} {PASSWORD}", "the mail server refused the login (SMTP 535)", False),
        ("AUTH", "454 4.7.0 later", "the mail server refused the login (SMTP 454)", True),
        ("MAIL", f"550 not you, {USER}", "the mail server refused the sender (SMTP 550)", False),
        ("RCPT", "550 5.1.1 anna@example.com unknown", "the mail server refused every recipient (SMTP 550)", False),
        ("RCPT", "450 greylisted", "the mail server refused every recipient (SMTP 450)", True),
        ("DATA.", f"554 {PASSWORD}", "the mail server refused the mail (SMTP 554)", False),
        ("CONNECT", "421 too busy", "the mail server refused the mail (SMTP 421)", True),
        ("CONNECT", "", "the mail server closed the connection", True),
        ("DATA.", "", "the mail server closed the connection", True),
    ],
)
def test_a_refusal_says_what_and_its_number_and_nothing_of_the_servers_words(
    server: MailServer, word: str, answer: str, reason: str, passing: bool
) -> None:
    server.answers[word] = answer
    found = refusal(url_of(server.port))
    assert (str(found), found.passing) == (reason, passing)
    assert server.arrived == []


def test_one_refused_recipient_costs_the_others_nothing_and_is_said(server: MailServer) -> None:
    server.answers["RCPT bert@example.com"] = "550 unknown"
    note = sent(url_of(server.port, to="anna@example.com,bert@example.com"))
    assert note == "1 of 2 recipients refused by the mail server (SMTP 550)"
    assert [arrived.recipients for arrived in server.arrived] == [["anna@example.com"]]


def test_a_server_that_hangs_costs_the_given_time_and_no_more(server: MailServer) -> None:
    server.hangs_at = "MAIL"
    begun = time.monotonic()
    found = refusal(url_of(server.port), seconds=3)
    assert time.monotonic() - begun < 30
    assert "did not answer in time" in str(found)
    assert found.passing


def test_a_closed_port_is_a_passing_fault() -> None:
    with mail_server() as gone:
        port = gone.port
    found = refusal(url_of(port))
    assert (str(found), found.passing) == ("the mail server could not be reached: Connection refused", True)


def test_a_server_that_offers_neither_starttls_nor_a_login_is_told_so(server: MailServer) -> None:
    assert "offers no STARTTLS" in str(refusal(url_of(server.port, "mailtos", more="&mode=starttls")))
    server.login = False
    assert "offers no login" in str(refusal(url_of(server.port)))
    assert server.arrived == []


def test_a_password_is_never_sent_in_clear_beyond_this_machine() -> None:
    found = refusal("mailto://" + url_of(25).partition("://")[2].replace("127.0.0.1", "mail.example.com"))
    assert "would travel in clear" in str(found)
    assert not found.passing


def test_nothing_is_logged_of_a_mail_that_fails_with_logging_at_debug(
    server: MailServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers["AUTH"] = f"535 {USER} {PASSWORD}"
    refusal(url_of(server.port))
    sent_to = Receiver(url_of(server.port), "SOUNDLINK_REPORT_URL")
    shown = [caplog.text, *capfd.readouterr(), repr(sent_to), repr(MESSAGE)]
    assert not [secret for secret in _SECRETS for text in shown if secret in text]
