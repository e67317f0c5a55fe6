"""Fuzzing: whatever the bytes of a delivery, it is loaded exactly or refused whole. Never a wrong value, crash or hang.

`damage.py` makes the deliveries, and `oracle.py` says, without the pipeline's code, what must become of them.
`--inputs` says how many are tried (`make fuzz`: 100,000). A failure prints the seed and the input, made as small as it
gets; `damaged(seed)` is that delivery again. What was found once is kept below as a case of its own.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
from soundlink_pipeline_tests.support.deliveries import sample_line
from soundlink_pipeline_tests.trials.fuzzing.damage import Damaged, damaged
from soundlink_pipeline_tests.trials.fuzzing.loader import Loader, disagreements, in_batches
from soundlink_pipeline_tests.trials.fuzzing.oracle import OPEN

BREAKDOWN, ENGAGEMENT = CAMPAIGN_COUNTRY_DAILY, CAMPAIGN_ENGAGEMENT_DAILY
PER_TEST = 1000


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "first_seed" in metafunc.fixturenames:
        metafunc.parametrize("first_seed", range(0, metafunc.config.getoption("--inputs"), PER_TEST))


@pytest.mark.timeout(1200)  # seconds on a quiet machine; what hangs is told by its batch's deadline
def test_a_damaged_delivery_is_loaded_exactly_or_refused_whole(
    loader: Loader, shares: Counter[str], first_seed: int
) -> None:
    items = [damaged(seed) for seed in range(first_seed, first_seed + PER_TEST)]
    kinds = Counter(item.verdict.kind for item in items)
    # Were nearly all refused, or none, the comparison would prove little.
    assert 0.3 < kinds["loaded"] / len(items) < 0.7
    assert kinds["refused"] / len(items) > 0.2
    assert {matter for item in items for matter in item.verdict.open} <= OPEN.keys()
    shares.update(kinds)
    shares.update(f"with: {kind}" for item in items for kind in set(item.kinds))
    shares["inputs"] += len(items)
    rng, failures = Random(first_seed), list[str]()
    for batch in in_batches(rng, items):
        failures += disagreements(loader, batch, staged=rng.random() < 0.4)
    assert not failures, f"{len(failures)} disagreements\n\n" + "\n\n".join(failures[:10])


# What was found once

LINE = sample_line(BREAKDOWN).replace(b"2026-04-01", b"2026-01-10")
TRACK = sample_line(ENGAGEMENT).replace(b"2026-04-08", b"2026-01-10")
GOOD = Damaged(1, BREAKDOWN, "good", (), LINE.replace(b"f1e28d31", b"00000000"), 1)
FOUND = {
    "a year of five digits": (BREAKDOWN, LINE.replace(b"2026-01-10", b"12026-01-10")),
    "a year of five digits in the other export": (ENGAGEMENT, TRACK.replace(b"2026-01-10", b"12026-01-10")),
    "a year before Christ": (BREAKDOWN, LINE.replace(b"2026-01-10", b"2026-01-10 (BC)")),
    "no end of days": (BREAKDOWN, LINE.replace(b"2026-01-10", b"infinity")),
    "no beginning of days": (BREAKDOWN, LINE.replace(b"2026-01-10", b"-infinity")),
    "writing that turns": (
        BREAKDOWN,
        LINE.replace(b"Sleep", b"\xe2\x80\xae\xc2\x85").replace(b'"US"', b'"\\u007f\\u202e"'),
    ),
    "an unprintable name twice": (BREAKDOWN, LINE.replace(b"{", b'{"\\u001b[2J\\ud800":1,"\\u001b[2J\\ud800":2,')),
}


@pytest.mark.parametrize("staged", [False, True], ids=["straight", "staged"])
@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_is_refused_and_costs_no_other_delivery_anything(
    loader: Loader, name: str, staged: bool
) -> None:
    export, data = FOUND[name]
    item = Damaged(2, export, "found", (name,), data, None)
    assert item.verdict.kind != "loaded"
    assert GOOD.verdict.kind == "loaded"
    assert disagreements(loader, [item, GOOD], staged=staged) == []
