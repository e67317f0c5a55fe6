"""Mail over SMTP: a short HTML body with its pictures inline, the same as plain text, and whole files attached.

Apprise reads the URL, so that it knows the servers of the great providers. It would send a mail, too, but tells neither
why one was refused nor whether a retry can help, and makes the plain text from the HTML.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from soundlink_pipeline.channels.receiver import Message, NotDelivered
from soundlink_pipeline.wording import counted


def send_mail(settings: Any, message: Message, seconds: float) -> str:
    """Send a message as one mail to all recipients. Raises NotDelivered.

    `settings` is Apprise's object of a mailto:// URL. Returns how many of several recipients were refused, if any:
    the others have their mail, so that it is not sent again.
    """
    sender = settings.from_addr[1]
    recipients = [*dict.fromkeys([*(to[1] for to in settings.targets), *sorted(settings.cc), *sorted(settings.bcc)])]
    if not recipients:
        raise NotDelivered("the URL names no recipient: add to=somebody@example.com", passing=False)
    mail = mail_of(message, settings)
    with _connected(settings, seconds) as server:
        refused = server.send_message(mail, sender, recipients)
    if not refused:
        return ""
    codes = ", ".join(sorted({str(code) for code, _ in refused.values()}))
    return f"{len(refused)} of {counted(len(recipients), 'recipient')} refused by the mail server (SMTP {codes})"


def mail_of(message: Message, settings: Any) -> EmailMessage:
    """The mail: plain text and HTML as alternatives, pictures within the HTML's part, files behind both."""
    mail = EmailMessage()
    domain = settings.from_addr[1].rpartition("@")[2]
    mail["Subject"] = message.title
    mail["From"] = _address(settings.from_addr)
    mail["To"] = [_address(target) for target in settings.targets]
    if settings.cc:
        mail["Cc"] = [_address((False, address)) for address in sorted(settings.cc)]
    if settings.reply_to:
        mail["Reply-To"] = [_address((False, address)) for address in sorted(settings.reply_to)]
    mail["Date"] = formatdate(localtime=False)
    mail["Message-ID"] = make_msgid(domain=domain)
    mail["Auto-Submitted"] = "auto-generated"  # no absence notices, please
    for name, value in settings.headers.items():
        mail[name] = value
    mail.set_content(message.text)
    if message.html:
        mail.add_alternative(message.html, subtype="html")
        html: Any = mail.get_payload(1)
        for picture in message.pictures:
            kind, _, subtype = picture.kind.partition("/")
            html.add_related(
                picture.content, kind, subtype, cid=f"<{picture.cid}>", filename=picture.name, disposition="inline"
            )
    for file in message.files:
        kind, _, subtype = file.kind.partition("/")
        mail.add_attachment(file.content, kind, subtype, filename=file.name)
    return mail


def _address(pair: Any) -> Address:
    name, address = pair
    user, _, domain = address.rpartition("@")
    return Address(name or "", user, domain)


@contextmanager
def _connected(settings: Any, seconds: float) -> Iterator[smtplib.SMTP]:
    """A session that is encrypted and logged in as the URL says; every fault of it becomes NotDelivered."""
    server: smtplib.SMTP | None = None
    try:
        server = _open(settings, seconds)
        if settings.user and settings.password:
            server.login(settings.user, settings.password)
        yield server
    except (smtplib.SMTPException, OSError) as error:
        raise _not_delivered(error) from None
    finally:
        if server is not None:
            with suppress(OSError, smtplib.SMTPException):
                server.quit()
            server.close()


def _open(settings: Any, seconds: float) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if not settings.verify_certificate:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # Its own name would be looked up, which takes long where there is no name server.
    myself = settings.from_addr[1].rpartition("@")[2]
    if settings.secure_mode == "ssl":
        return smtplib.SMTP_SSL(settings.smtp_host, settings.port, myself, timeout=seconds, context=context)
    server = smtplib.SMTP(settings.smtp_host, settings.port, myself, timeout=seconds)
    if settings.secure_mode == "starttls":
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server


def _not_delivered(error: Exception) -> NotDelivered:
    """Why there is no mail, in our own words: none of the server's but its numbers, which repeat no secret."""
    if (refusal := _refusal(error)) is not None:
        what, code = refusal
        return NotDelivered(f"the mail server refused {what} (SMTP {code})", passing=400 <= code < 500)
    final = ""
    if isinstance(error, smtplib.SMTPNotSupportedError):
        offer = "STARTTLS" if "STARTTLS" in str(error) else "login" if "AUTH" in str(error) else "what the URL needs"
        final = f"the mail server offers no {offer}: check port and mode of the URL"
    elif isinstance(error, ssl.SSLCertVerificationError):
        final = f"the certificate of the mail server is not trusted (OpenSSL's code {error.verify_code})"
    elif isinstance(error, ssl.SSLError):
        final = "no TLS with the mail server: mode=starttls is usual on port 587, mode=ssl on port 465"
    if final:
        return NotDelivered(final, passing=False)
    if isinstance(error, TimeoutError):
        reason = "did not answer in time"
    elif isinstance(error, smtplib.SMTPServerDisconnected):
        reason = "closed the connection"
    elif isinstance(error, smtplib.SMTPException):
        reason = f"does not speak SMTP as expected ({type(error).__name__})"
    else:
        reason = f"could not be reached: {getattr(error, 'strerror', None) or type(error).__name__}"
    return NotDelivered(f"the mail server {reason}", passing=True)


def _refusal(error: Exception) -> tuple[str, int] | None:
    """What a mail server refused with which code, if it is such an error."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "every recipient", min(code for code, _ in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        kinds = {smtplib.SMTPAuthenticationError: "the login", smtplib.SMTPSenderRefused: "the sender"}
        return kinds.get(type(error), "the mail"), error.smtp_code
    return None
