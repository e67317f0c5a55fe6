"""A mail server over real SMTP on loopback: it keeps what arrives, and refuses, hangs or breaks off as it is told."""

from __future__ import annotations

import base64
import shutil
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from soundlink_pipeline_tests.support.loopback import answering

USER, PASSWORD = "reporter-SECRET31", "pa/ss:SECRET-word@77"
_USUAL = {"STARTTLS": "220 go", "DATA": "354 go", "QUIT": "221 bye", "RSET": "250 fine"}


@dataclass(frozen=True)
class Arrived:
    """A mail as it arrived, and what was said before it."""

    sender: str
    recipients: list[str]
    mail: EmailMessage
    encrypted: bool
    user: str


class MailServer(socketserver.ThreadingTCPServer):
    """`answers` are replies to give instead of the usual ones, by the first word of a command (`DATA.` is the end)."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, tls: ssl.SSLContext | None = None, *, implicit: bool = False, login: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.tls = tls
        self.implicit = implicit
        self.login = login
        self.arrived: list[Arrived] = []
        self.answers: dict[str, str] = {}
        self.hangs_at = ""
        self.connections = 0
        self.released = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(socketserver.StreamRequestHandler):
    server: MailServer
    encrypted = False
    user = ""

    def handle(self) -> None:
        self.server.connections += 1
        if self.server.implicit:
            self._encrypt()
        if not self._reply("CONNECT", "220 mail.example ready"):
            return
        sender, recipients = "", list[str]()
        while line := self.rfile.readline():
            text = line.decode("utf-8", "replace").strip()
            word = text.partition(" ")[0].upper()
            if word == "EHLO":
                offers = ["mail.example", "8BITMIME"]
                offers += ["STARTTLS"] if self.server.tls and not self.encrypted else []
                offers += ["AUTH PLAIN"] if self.server.login else []
                usual = "\r\n".join([*(f"250-{offer}" for offer in offers), "250 SIZE 30000000"])
            elif word == "AUTH":
                told = base64.b64decode(text.split()[2]).decode().split("\0")
                self.user = told[1]
                usual = "235 fine" if told[1:] == [USER, PASSWORD] else f"535 5.7.8 no such login {told[1]} {told[2]}"
            elif word == "MAIL":
                sender, recipients, usual = text, [], "250 fine"
            elif word == "RCPT":
                address = text.partition("<")[2].partition(">")[0]
                word = f"RCPT {address}" if f"RCPT {address}" in self.server.answers else word
                usual = "250 fine"
                if self.server.answers.get(word, "250").startswith("250"):
                    recipients.append(address)
            else:
                usual = {"STARTTLS": "220 go", "DATA": "354 go", "QUIT": "221 bye", "RSET": "250 fine"}.get(
                    word, "502 no"
                )
            if not self._reply(word, usual):
                return
            if word == "STARTTLS":
                self._encrypt()
            if word == "DATA" and "DATA" not in self.server.answers:
                content = self._content()
                if not self._reply("DATA.", "250 taken"):
                    return
                if "DATA." not in self.server.answers:
                    mail = message_from_bytes(content, policy=policy.default)
                    self.server.arrived.append(Arrived(sender, recipients, mail, self.encrypted, self.user))
            if word == "QUIT":
                return

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # where it was encrypted, nobody else does

    def _reply(self, word: str, usual: str) -> bool:
        """Answer a command; False where the session ends instead."""
        if self.server.hangs_at == word:
            self.server.released.wait(60)
            return False
        text = self.server.answers.get(word, usual)
        if text:
            self.wfile.write(f"{text}\r\n".encode())
        return bool(text)

    def _content(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        return b"".join(lines)

    def _encrypt(self) -> None:
        assert self.server.tls is not None
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.encrypted = True


class _Quiet:
    """A client that breaks off, or takes no certificate, is what is tried: no traceback on the terminal."""

    def handle_error(self, *_: object) -> None:
        pass


class QuietMailServer(_Quiet, MailServer):
    pass


@contextmanager
def mail_server(tls: ssl.SSLContext | None = None, **options: bool) -> Iterator[MailServer]:
    with answering(QuietMailServer(tls, **options)) as server:
        yield server


def make_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A context for a server on 127.0.0.1, and the file with its certificate, which signs itself."""
    openssl = shutil.which("openssl")
    assert openssl, "needs openssl to make a certificate"
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ["-nodes", "-days", "36500", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = [openssl, "req", "-x509", *kind, *subject, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate
