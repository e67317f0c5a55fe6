"""Whether the receivers of messages can be ones. Nothing is sent, and no URL is shown: each is a secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from soundlink_pipeline.channels.receiver import NotDelivered
from soundlink_pipeline.channels.services import problem_of_service
from soundlink_pipeline.doctor.finding import Finding, ok, warn
from soundlink_pipeline.settings.receivers import RECEIVER_SETTINGS, receivers_of
from soundlink_pipeline.wording import counted


def check_receivers(environment: Mapping[str, str]) -> Iterator[Finding]:
    """A finding for each setting that names receivers. Webhooks are checked with the settings: here the others are."""
    for setting in RECEIVER_SETTINGS:
        receivers = receivers_of(setting, environment.get(setting))
        problems = []
        for number, receiver in enumerate(receivers, 1):
            if receiver.is_webhook:
                continue
            try:
                problem = problem_of_service(receiver.url)
            except NotDelivered as error:
                problem = f"could not be checked: {error}"
            if problem:
                problems.append(f"receiver {number} of {len(receivers)}: {problem}")
        if problems:
            yield warn(setting, "; ".join(problems), "correct it in .env or in the environment")
        elif receivers:
            yield ok(setting, f"{counted(len(receivers), 'receiver')}, of a kind that is known")
