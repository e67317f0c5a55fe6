"""The process that sends one message through Apprise, or as mail: an order as JSON comes in, one line of JSON goes out.

What Apprise and the libraries below it log stays in here. A reason that goes out is made of our own words and a number
of the answer: never of what a server or a library says, which may repeat the URL.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sys
import threading
from typing import Any, TextIO

from soundlink_pipeline.channels.receiver import File, Message, NotDelivered
from soundlink_pipeline.settings.urls import is_loopback

# Of these HTTP statuses no retry changes anything.
_FINAL_STATUSES = (400, 401, 403, 404, 405, 410, 413, 422)


def main() -> int:
    # The answer has the output for itself: whatever a library prints goes nowhere.
    answer, sys.stdout = _Answer(sys.stdout), sys.stderr
    note, problem, passing = "", "", False
    try:
        order = json.load(sys.stdin)
        note = _carry_out(order["url"], _message(order["message"]), float(order["seconds"]), answer)
    except NotDelivered as refused:
        problem, passing = str(refused), refused.passing
    except Exception as error:
        # By its kind alone: its words may hold the URL.
        problem, passing = f"sending failed with {type(error).__name__}", True
    answer.give(problem, passing=passing, note=note)
    return 0


class _Answer:
    """The one answer of this process: of its work, or that the time for it is over, whichever comes first."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._first = threading.Lock()

    def give(self, problem: str, *, passing: bool, note: str = "") -> bool:
        """Whether it was the first."""
        if not self._first.acquire(blocking=False):
            return False
        self._stream.write(json.dumps({"problem": problem, "passing": passing, "note": note}))
        self._stream.flush()
        return True

    def end_after(self, seconds: float) -> None:
        """End the process then, with an answer: a server that drips bytes passes every time-out of a read."""

        def end() -> None:
            if self.give("the receiver did not answer in time", passing=True):
                os._exit(0)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()


def _message(fields: dict[str, Any] | None) -> Message | None:
    if fields is None:
        return None

    def decoded(files: list[dict[str, str]]) -> tuple[File, ...]:
        return tuple(File(f["name"], f["kind"], base64.b64decode(f["content"]), f["cid"]) for f in files)

    return Message(
        title=fields["title"],
        text=fields["text"],
        slack="",
        html=fields["html"],
        pictures=decoded(fields["pictures"]),
        files=decoded(fields["files"]),
    )


class _Statuses(logging.Handler):
    """Listens to Apprise for what was wrong: the HTTP status, or that nobody could be reached."""

    def __init__(self) -> None:
        super().__init__()
        self.status: int | None = None
        self.is_unreached = False

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if found := re.search(r"\berror=([1-5]\d\d)\b", text):
            self.status = int(found[1])
        self.is_unreached |= "onnection error" in text


def _carry_out(url: str, message: Message | None, seconds: float, answer: _Answer) -> str:
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415

    # This machine is never reached through a proxy.
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost,127.0.0.1,::1"]))
    asset = AppriseAsset(app_id="Soundlink Pipeline", app_desc="Soundlink Pipeline", plugin_paths=None)
    heard = _Statuses()
    logging.getLogger("apprise").addHandler(heard)
    plugin = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if plugin is None:
        raise NotDelivered(
            "the URL is none that Apprise knows (it is not shown: it is a secret); docs/operators.md shows examples",
            passing=False,
        )
    _check_not_in_clear(plugin)
    if message is None:
        return ""
    answer.end_after(seconds)
    if _is_mail(plugin):
        from soundlink_pipeline.channels.mail import send_mail  # noqa: PLC0415

        return send_mail(plugin, message, seconds)
    _notify(url, plugin, message, heard)
    return ""


def _is_mail(plugin: Any) -> bool:
    from apprise.plugins.email import NotifyEmail  # noqa: PLC0415

    return type(plugin) is NotifyEmail


def _check_not_in_clear(plugin: Any) -> None:
    """Raises NotDelivered for a URL whose password or token would travel in clear beyond this machine."""
    if _is_mail(plugin):
        host, is_clear = plugin.smtp_host, plugin.secure_mode == "insecure"
    else:
        host = getattr(plugin, "host", None) or ""
        is_clear = not plugin.secure and bool(plugin.protocol) and bool(plugin.secure_protocol)
    if is_clear and not is_loopback(host):
        raise NotDelivered(
            "the URL is of the plain kind: what is secret in it would travel in clear; end its scheme with an s, as in"
            " mailtos://",
            passing=False,
        )


def _notify(url: str, plugin: Any, message: Message, heard: _Statuses) -> None:
    """Through Apprise: the text, as mail services take it with its HTML, and files where the service takes them."""
    from apprise import Apprise, AppriseAttachment, AppriseResultStatus, NotifyFormat, OverflowMode  # noqa: PLC0415
    from apprise.attachment.memory import AttachMemory  # noqa: PLC0415

    if "overflow=" not in url:
        plugin.overflow_mode = OverflowMode.TRUNCATE  # else some services refuse what is too long
    attached = None
    if message.files and plugin.attachment_support:
        attached = AppriseAttachment()
        for file in message.files:
            attached.add(AttachMemory(content=file.content, name=file.name, mimetype=file.kind))  # type: ignore[no-untyped-call]
    sender = Apprise()
    sender.add(plugin)
    result = sender.notify(body=message.text, title=message.title, body_format=NotifyFormat.TEXT, attach=attached)
    # The object is true for no comparison: its status alone tells.
    if result.status == AppriseResultStatus.SUCCESS:
        return
    if heard.status is not None:
        raise NotDelivered(f"the service answered HTTP {heard.status}", passing=heard.status not in _FINAL_STATUSES)
    if heard.is_unreached:
        raise NotDelivered("the service could not be reached", passing=True)
    raise NotDelivered("the service did not take the message", passing=True)


if __name__ == "__main__":
    sys.exit(main())
