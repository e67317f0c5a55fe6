"""All exports, in the order in which they are pulled, and what they are about."""

from __future__ import annotations

from collections.abc import Iterable

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_EXPORTS
from soundlink_pipeline.contracts.schema import Export
from soundlink_pipeline.contracts.soundlink_exports import SOUNDLINK_EXPORTS
from soundlink_pipeline.contracts.subject import Subject

EXPORTS: tuple[Export, ...] = (*CAMPAIGN_EXPORTS, *SOUNDLINK_EXPORTS)


def subjects_of(exports: Iterable[Export]) -> list[Subject]:
    """What these exports are about, each once, in their order."""
    return list({export.subject.name: export.subject for export in exports}.values())


SUBJECTS = tuple(subjects_of(EXPORTS))
