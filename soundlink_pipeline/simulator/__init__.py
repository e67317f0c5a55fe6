"""A local Soundlink API for the demo, the tests and the benchmarks.

It shares no code with the pipeline: it is written from the vendor's documentation alone, so that the two can
disagree. Start it with ``running_simulator()`` or ``python -m soundlink_pipeline.simulator``.
"""

from soundlink_pipeline.simulator.access import CAMPAIGNS_READ, DEMO_KEY, METRICS_READ, SOUNDLINKS_READ, KeyInfo
from soundlink_pipeline.simulator.clock import SimClock
from soundlink_pipeline.simulator.encoding import dumps, ndjson
from soundlink_pipeline.simulator.faults import Fault, Faults
from soundlink_pipeline.simulator.oauth import ClientInfo
from soundlink_pipeline.simulator.oddities import Oddities
from soundlink_pipeline.simulator.organizations import Organization
from soundlink_pipeline.simulator.server import Simulator, running_simulator
from soundlink_pipeline.simulator.shrinking import Shrinking
from soundlink_pipeline.simulator.stats import Record, Stats
from soundlink_pipeline.simulator.subjects import (
    BREAKDOWN,
    ENGAGEMENT,
    EXPORTS,
    SOUNDLINK_BREAKDOWN,
    SOUNDLINK_ENGAGEMENT,
    SOUNDLINK_EXPORTS,
)
from soundlink_pipeline.simulator.world import World

__all__ = [
    "BREAKDOWN",
    "CAMPAIGNS_READ",
    "DEMO_KEY",
    "ENGAGEMENT",
    "EXPORTS",
    "METRICS_READ",
    "SOUNDLINKS_READ",
    "SOUNDLINK_BREAKDOWN",
    "SOUNDLINK_ENGAGEMENT",
    "SOUNDLINK_EXPORTS",
    "ClientInfo",
    "Fault",
    "Faults",
    "KeyInfo",
    "Oddities",
    "Organization",
    "Record",
    "Shrinking",
    "SimClock",
    "Simulator",
    "Stats",
    "World",
    "dumps",
    "ndjson",
    "running_simulator",
]
