"""Sends a message to one receiver: to a webhook from here, to any other service from a process of its own."""

from __future__ import annotations

from typing import Any

from soundlink_pipeline.channels.receiver import Message
from soundlink_pipeline.settings.receivers import Receiver

_SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")


def send(receiver: Receiver, message: Message, seconds: float) -> str:
    """Send a message within so many seconds. Raises NotDelivered.

    Returns what was taken only in part, such as by some of a mail's recipients; empty where all of it was taken.
    """
    if not receiver.is_webhook:
        from soundlink_pipeline.channels.services import deliver_to_service  # noqa: PLC0415

        return deliver_to_service(receiver.url, message, seconds)
    import httpx  # noqa: PLC0415

    from soundlink_pipeline.channels.webhook import deliver  # noqa: PLC0415

    url = httpx.URL(receiver.url)
    deliver(url, webhook_body(message, url.host), seconds)
    return ""


def webhook_body(message: Message, host: str) -> dict[str, Any]:
    """The JSON for a webhook: for Slack the text, for others the text and the facts in it."""
    return {"text": message.slack} if host in _SLACK_HOSTS else {"text": message.whole, **message.facts}
