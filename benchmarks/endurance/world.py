"""The simulated year: campaigns that begin and end all the time, soundlinks, and what befalls each day."""

from datetime import date, timedelta
from random import Random
from typing import Any

from soundlink_pipeline.simulator import Oddities, World
from soundlink_pipeline.simulator.campaigns import make_campaign
from soundlink_pipeline.simulator.oddities import MOVES_AFTER

FIRST_DAY = date(2024, 12, 31)  # of the partitions; the first refresh is on the morning after
# A campaign begins every so many days. It runs for some 36, one in three for two cycles, and is played for 150 more: so
# long before the first day the first one begins, that the start of the year is like its end.
CAMPAIGN_EVERY = timedelta(days=16)
WARMING_UP = timedelta(days=320)
# What real accounts bring.
ODDITIES = Oddities.every()
SOUNDLINKS = 4
ACCOUNT_MOVES = timedelta(days=8)  # after the first day, so that most days that are open then hold rows already
# What may happen, and for how many days it may last; None: as long as --longest says.
KINDS: dict[str, int | None] = {
    "outage": None,  # whatever is asked, a sign-in page answers
    "closed": None,  # the laptop is closed: nothing runs at all
    "down": 1,  # HTTP 503, waited for until the client gives up
    "campaign": 3,  # one campaign is not found; the others are
    "damaged": 1,  # answers that end too early, or hold too little of a day; the run asks again
    "framed": 1,  # answers compressed and framed in other ways than usual, all of them valid
    "withdrawn": 1,  # a day has lost its rows, however often it is asked for; on the next day they are back
    "unlike": 1,  # a day has lost its rows, and two answers miss different ones: neither is believed
    "limits": 1,  # HTTP 429; the run waits
    "kill": 1,  # kill -9 somewhere in the run; Dagster's daemon retries it from failure
    "restart": 1,  # kill -9, and nobody there until the next morning
}
# Answers that are valid, and not as usual: a fault of the simulator each, with its parameters.
FRAMED: list[tuple[str, dict[str, Any]]] = [
    *(("encoded", {"encoding": name}) for name in ("x-gzip", "deflate", "raw-deflate", "br", "zstd", "deflate, gzip")),
    *((kind, {}) for kind in ("crlf", "bom", "blank_lines", "no_final_newline", "chunked", "no_row_count")),
    ("extra_field", {"fields": {"extra_metric": 1}}),
]


class Year(World):
    """A world in which campaigns begin and end all the year round, and have done so before the first day."""

    def __init__(self, seed: int, days: int) -> None:
        super().__init__(seed, 0, FIRST_DAY, soundlinks=SOUNDLINKS, oddities=ODDITIES)
        count = (timedelta(days=days) + WARMING_UP) // CAMPAIGN_EVERY + 1
        # Without the first two of a world: they run for so long that the start of the year would be unlike its end.
        self.campaigns = [
            ODDITIES.of(
                make_campaign(seed, 2 + n, FIRST_DAY - WARMING_UP + n * CAMPAIGN_EVERY, countries=12, tracks=3),
                n,
                FIRST_DAY + ACCOUNT_MOVES - MOVES_AFTER,
            )
            for n in range(count)
        ]
        self._by_id = {campaign_id: campaign for campaign in self.campaigns for campaign_id in campaign.ids}


def calendar(days: int, seed: int, quiet: int, longest: int) -> list[str]:
    """What befalls each day, "" for nothing: kinds take turns, `quiet` good days apart on average. The last is good."""
    random, turn, plan = Random(seed), list[str](), list[str]()
    while len(plan) < days - 1:
        plan += [""] * (1 + int(random.random() * (2 * quiet - 1)))
        if not turn:
            turn = sorted(KINDS, key=lambda _: random.random())
        kind = turn.pop()
        plan += [kind] * (1 + int(random.random() * min(KINDS[kind] or longest, longest)))
    return [*plan[: days - 1], ""]
