"""What further accounts cost: `python -m benchmarks.accounts [--organizations 40] [--rounds 5]`.

First a refresh of one account of 30 campaigns, and of that one with a second account of one campaign beside it, in
turns; the API answers at once. Then many accounts with keys of their own, each of 75 pulls at 60 requests a minute:
side by side they should take hardly longer than one of them alone.
"""

import argparse
import statistics
import tempfile
import warnings
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.refreshing import Folder
from benchmarks.serving import say, verdict
from soundlink_pipeline.simulator import KeyInfo, Organization, SimClock, Simulator, World, running_simulator

_NOW = datetime(2026, 4, 1, 7, tzinfo=UTC)
_FIRST = date(2026, 1, 1)
_MOST_SECONDS, _MOST_RATIO = 0.3, 1.3
_PULLS = 75


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accounts", description=__doc__)
    parser.add_argument("--organizations", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5, help="of the second account's; the table shows medians")
    options = parser.parse_args()
    print("## Several accounts\n")
    _second(options.rounds)
    _many(options.organizations)


def _second(rounds: int) -> None:
    worlds = [_world(1, campaigns=30, countries=30, tracks=4), _world(2, campaigns=1, countries=30, tracks=4)]
    clock = SimClock(_NOW)
    with (
        tempfile.TemporaryDirectory(prefix="soundlink-bench-") as scratch,
        running_simulator(worlds[0], clock, per_minute=None, per_hour=None, prepare=True) as simulator,
    ):
        secrets = _let_in(simulator, worlds)
        folders = {
            "one account": _folder(Path(scratch), simulator, secrets, 1),
            "a second one beside it": _folder(Path(scratch), simulator, secrets, 2),
        }
        for folder in folders.values():
            folder.refresh(_NOW.date() - timedelta(days=90), _NOW.date() - timedelta(days=1))
        seconds: dict[str, list[float]] = {what: [] for what in folders}
        for number in range(1, rounds + 1):
            day = _NOW + timedelta(days=number)
            clock.set(day)
            for what, folder in folders.items():
                seconds[what].append(folder.refresh(day.date() - timedelta(days=8), day.date() - timedelta(days=1)))
    medians = {what: statistics.median(times) for what, times in seconds.items()}
    one, two = medians.values()
    print("| a refresh of 8 days | seconds |\n|---|---|")
    print("\n".join(f"| {what} | {median:.2f} |" for what, median in medians.items()))
    print(
        f"\nMedians of {rounds} rounds. "
        + verdict(f"a second account less than {_MOST_SECONDS} s more", two - one < _MOST_SECONDS, f"{two - one:.2f} s")
    )


def _many(organizations: int) -> None:
    # Two exports of each campaign; with its two listings that is what each key's limit has to let through.
    campaigns = -(-_PULLS // 2)
    worlds = [_world(number + 1, campaigns, countries=2, tracks=1) for number in range(organizations)]
    seconds: dict[int, float] = {}
    for number in (1, organizations):
        with (
            tempfile.TemporaryDirectory(prefix="soundlink-bench-") as scratch,
            running_simulator(worlds[0], SimClock(_NOW), per_minute=None, per_hour=None) as simulator,
        ):
            secrets = _let_in(simulator, worlds[:number])
            folder = _folder(Path(scratch), simulator, secrets, number, SOUNDLINK_REQUESTS_PER_MINUTE="60")
            seconds[number] = folder.refresh(_NOW.date() - timedelta(days=8), _NOW.date() - timedelta(days=1))
            exports = simulator.stats.count(path_contains="/export")
            if exports != number * 2 * campaigns:
                raise SystemExit(f"{exports} exports were asked for, not {number * 2 * campaigns}")
        say(f"{number} accounts: {seconds[number]:.1f} s")
    ratio = seconds[organizations] / seconds[1]
    print(f"\n| accounts of {2 * campaigns} pulls, 60 requests a minute each | seconds | ratio |\n|---|---|---|")
    print("\n".join(f"| {number} | {took:.1f} | {took / seconds[1]:.2f} |" for number, took in seconds.items()))
    print("\n" + verdict(f"40 accounts at most {_MOST_RATIO} x one alone", ratio <= _MOST_RATIO, f"{ratio:.2f} x"))


def _world(seed: int, campaigns: int, countries: int, tracks: int) -> World:
    return World(
        seed,
        campaigns,
        _FIRST,
        duration_days=120,
        countries_per_campaign=countries,
        tracks_per_campaign=tracks,
    )


def _let_in(simulator: Simulator, worlds: list[World]) -> dict[str, str]:
    """A key for each organization, by the variable that holds it."""
    secrets = {}
    for number, world in enumerate(worlds, start=1):
        key = f"sk_bench_organization{number}"
        simulator.organizations.setdefault(world.account_id, Organization(world.account_id, world))
        simulator.keys[key] = KeyInfo(organization=world.account_id)
        secrets[f"KEY_{number}"] = key
    return secrets


def _folder(scratch: Path, simulator: Simulator, secrets: dict[str, str], accounts: int, **settings: str) -> Folder:
    """A project of the first accounts."""
    file = scratch / f"accounts-{accounts}.toml"
    tables = [f"[accounts.account-{number}]\nkey_env = 'KEY_{number}'\n" for number in range(1, accounts + 1)]
    file.write_text("".join(tables))
    return Folder(scratch / str(accounts), simulator, secrets, SOUNDLINK_ACCOUNTS=str(file), **settings)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
