"""A local Soundlink API for the demo, the tests and the benchmarks.

It shares no code with the pipeline: it is written from the vendor's documentation alone, so that the two can
disagree. Start it with ``running_simulator()`` or ``python -m soundlink_pipeline.simulator``.
"""

from soundlink_pipeline.simulator.access import CAMPAIGNS_READ, DEMO_KEY, METRICS_READ, KeyInfo
from soundlink_pipeline.simulator.clock import SimClock
from soundlink_pipeline.simulator.encoding import dumps, ndjson
from soundlink_pipeline.simulator.faults import Fault, Faults
from soundlink_pipeline.simulator.oddities import Oddities
from soundlink_pipeline.simulator.server import Simulator, running_simulator
from soundlink_pipeline.simulator.shrinking import Shrinking
from soundlink_pipeline.simulator.stats import Record, Stats
from soundlink_pipeline.simulator.world import BREAKDOWN, ENGAGEMENT, EXPORTS, World

__all__ = [
    "BREAKDOWN",
    "CAMPAIGNS_READ",
    "DEMO_KEY",
    "ENGAGEMENT",
    "EXPORTS",
    "METRICS_READ",
    "Fault",
    "Faults",
    "KeyInfo",
    "Oddities",
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
