"""The organizations that a simulator answers for: each with its world, and whether it is open to requests."""

from dataclasses import dataclass

from soundlink_pipeline.simulator.world import World


@dataclass
class Organization:
    """``id`` is what keys and tokens are for; the rows of its world say whose they are themselves."""

    id: str
    world: World
    access_denied: bool = False  # 403 for whatever is asked about it
    public_api: bool = True  # without it: 404, as if there were nothing
    integrations: bool = True  # without them OAuth clients get no token for it, and their tokens are worth nothing
