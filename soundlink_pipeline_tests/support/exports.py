"""The exports about campaigns, for tests of an account that has nothing else."""

from __future__ import annotations

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.contracts.exports import EXPORTS

CAMPAIGN_EXPORTS = tuple(export for export in EXPORTS if export.subject == CAMPAIGN)
