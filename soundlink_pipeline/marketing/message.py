"""Findings as messages: short enough for every receiver, none of them cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from soundlink_pipeline.channels.harmless import cut, for_slack, without_mentions
from soundlink_pipeline.channels.receiver import Message
from soundlink_pipeline.marketing.findings import Finding
from soundlink_pipeline.wording import counted

_LINE_LIMIT = 400
_MOST_LINES = 7  # 7 of 400, and escaped signs, stay under what chats take


def in_messages(findings: Sequence[Finding]) -> Iterator[tuple[Sequence[Finding], Message]]:
    """The findings in as many messages as need be, each with those that it holds."""
    for start in range(0, len(findings), _MOST_LINES):
        part = findings[start : start + _MOST_LINES]
        yield part, message_of(part)


def message_of(findings: Sequence[Finding]) -> Message:
    campaigns = len({finding.campaign_id for finding in findings})
    title = f"Soundlink Pipeline: {counted(len(findings), 'alert')} on {counted(campaigns, 'campaign')}"
    lines = [f"- {cut(finding.text, _LINE_LIMIT)}" for finding in findings]
    return Message(
        title=title,
        text=without_mentions("\n".join(lines)),
        slack=for_slack("\n".join([title, *lines])),
        facts={"alerts": [_facts(finding) for finding in findings]},
    )


def _facts(finding: Finding) -> dict[str, object]:
    return {
        name: without_mentions(value) if isinstance(value, str) else value for name, value in finding.as_facts().items()
    }
