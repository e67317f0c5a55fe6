"""Which project is a demo: by all the settings that `soundlink demo` writes.

Not by the key alone: that is also the one of a simulator which somebody has started for a project of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

from soundlink_pipeline.api.key import DEMO_KEY
from soundlink_pipeline.typed import typed

# Both the pipeline's and the simulator's limits are raised, so that the demo does not wait for them.
DEMO_REQUESTS = 100_000


def demo_settings(first_day: str, base_url: str) -> dict[str, str]:
    """The settings of a demo whose first day, as YYYY-MM-DD, is this one, and whose API will be there."""
    return {
        "SOUNDLINK_API_KEY": DEMO_KEY,
        "SOUNDLINK_BASE_URL": base_url,
        "SOUNDLINK_START_DATE": first_day,
        "SOUNDLINK_REQUESTS_PER_MINUTE": str(DEMO_REQUESTS),
        "SOUNDLINK_REQUESTS_PER_HOUR": str(DEMO_REQUESTS),
    }


def is_demo(settings: Mapping[str, str]) -> bool:
    """Whether these are a demo's, whatever else they have."""
    first_day, base_url = settings.get("SOUNDLINK_START_DATE", ""), settings.get("SOUNDLINK_BASE_URL", "")
    return bool(first_day and base_url) and demo_settings(first_day, base_url).items() <= settings.items()


def demo_is_stopped() -> str:
    """Why the demo's API does not answer, and what to do."""
    return f"this is the demo, whose API runs only while {typed('dev')} does: start that in another terminal first"
