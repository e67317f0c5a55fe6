"""What is sent, in every form that a receiver may take, and what is raised where it was not taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class NotDelivered(Exception):
    """The receiver did not take a message; `passing` if a retry may succeed. The text does not contain the URL."""

    def __init__(self, reason: str, *, passing: bool, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.passing = passing
        self.retry_after = retry_after


@dataclass(frozen=True)
class File:
    """A file that goes with a message. `cid` is the Content-ID under which a mail's HTML shows a picture."""

    name: str
    kind: str
    content: bytes = field(repr=False)
    cid: str = ""


@dataclass(frozen=True)
class Message:
    """A title, a text below it, and the same for Slack in one, where `<` and `&` are escaped. All of it is harmless.

    `facts` is what a webhook's JSON has beside the text. `html` is the body of a mail; without it a mail has the text
    alone. `pictures` are those that `html` shows, `files` go to whoever takes attachments.
    """

    title: str
    text: str
    slack: str
    facts: dict[str, Any] = field(default_factory=dict)
    html: str = ""
    pictures: tuple[File, ...] = ()
    files: tuple[File, ...] = ()

    @property
    def whole(self) -> str:
        return f"{self.title}\n{self.text}"
