"""Hands a message to the process that sends it through Apprise or as mail, and ends that process in time.

A process of its own, for three reasons. Apprise logs tokens, and the libraries below it log addresses: there nobody
listens. Its time-outs are per read, so that a server that drips bytes could hold a tick for ever: a process can be
ended. And it takes a second to load, which only those who use it should pay.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from soundlink_pipeline.channels.receiver import File, Message, NotDelivered

_PROCESS = "soundlink_pipeline.channels.service_process"
# Starting the process takes a second and a half of a processor, which on a busy machine is many. Its time to send
# begins after that, and it ends by itself when that is over.
_START_SECONDS = 25.0
_LEAST_SECONDS = 3.0


def deliver_to_service(url: str, message: Message, seconds: float) -> str:
    """As `send`, for a URL that Apprise knows. Raises NotDelivered."""
    files = {"pictures": _encoded(message.pictures), "files": _encoded(message.files)}
    fields = {"title": message.title, "text": message.text, "html": message.html}
    return _ask({"url": url, "message": fields | files}, seconds)


def problem_of_service(url: str, seconds: float = 30.0) -> str:
    """What is wrong with a URL, without the URL; empty if Apprise takes it. Sends nothing. Raises NotDelivered."""
    try:
        _ask({"url": url, "message": None}, seconds)
    except NotDelivered as problem:
        if problem.passing:
            raise
        return str(problem)
    return ""


def _encoded(files: tuple[File, ...]) -> list[dict[str, str]]:
    return [asdict(file) | {"content": base64.b64encode(file.content).decode("ascii")} for file in files]


def _ask(order: dict[str, Any], seconds: float) -> str:
    """The process's note. The order goes over its standard input: other users see a command line."""
    seconds = max(seconds, _LEAST_SECONDS)
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-P", "-m", _PROCESS],
            input=json.dumps({**order, "seconds": seconds}).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_START_SECONDS + seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotDelivered("the receiver did not answer in time", passing=True) from None
    except OSError as error:
        raise NotDelivered(f"the process that sends could not be started: {error.strerror}", passing=True) from None
    try:
        answer = json.loads(done.stdout)
        problem, passing, note = str(answer["problem"]), bool(answer["passing"]), str(answer["note"])
    except (ValueError, TypeError, KeyError):
        raise NotDelivered(f"the process that sends ended with exit code {done.returncode}", passing=True) from None
    if problem:
        raise NotDelivered(problem, passing=passing)
    return note
