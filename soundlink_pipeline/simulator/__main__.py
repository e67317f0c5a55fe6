"""``python -m soundlink_pipeline.simulator``: the simulator as a process of its own, until SIGINT or SIGTERM."""

import argparse
import ipaddress
import signal
import sys
import threading
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta

from soundlink_pipeline.simulator.clock import SimClock
from soundlink_pipeline.simulator.oddities import Oddities
from soundlink_pipeline.simulator.server import env_lines, running_simulator
from soundlink_pipeline.simulator.world import World


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if not options.allow_remote and not _is_loopback(options.host):
        print(f"{options.host} is not a loopback address; --allow-remote if you mean it", file=sys.stderr)
        return 2
    # Handlers first: a process that waits for the line below may send a signal as soon as it reads it.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    world = World(
        options.seed,
        options.campaigns,
        options.first_day,
        soundlinks=options.soundlinks,
        countries_per_campaign=options.countries,
        tracks_per_campaign=options.tracks,
        duration_days=options.duration,
        oddities=Oddities(**{switch.name: getattr(options, switch.name) for switch in fields(Oddities)}),
    )
    clock = SimClock(options.now or datetime.now(UTC), running=options.now is None)
    try:
        with running_simulator(
            world,
            clock,
            generation=options.generation,
            per_minute=options.per_minute,
            per_hour=options.per_hour,
            port=options.port,
            prepare=options.prepare,
            host=options.host,
        ) as simulator:
            simulator.gzip_members = options.gzip_members
            if options.prepare:
                end = clock.now().date() - timedelta(days=1)
                simulator.prepare(end - timedelta(days=89), end)
            print(f"Soundlink simulator at {simulator.base_url} with the key {simulator.key}", flush=True)
            if not options.quiet:
                print("In .env:", *env_lines(simulator.base_url, simulator.key), sep="\n  ", flush=True)
            stop.wait()
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m soundlink_pipeline.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765, help="0 picks a free one")
    parser.add_argument("--allow-remote", action="store_true", help="listen beyond loopback; its switches need no key")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same data")
    parser.add_argument("--campaigns", type=int, default=12)
    parser.add_argument("--soundlinks", type=int, default=0)
    parser.add_argument("--first-day", type=date.fromisoformat, default=date(2026, 1, 1), metavar="YYYY-MM-DD")
    parser.add_argument("--now", type=_moment, metavar="ISO", help="freeze the clock there (UTC unless it says more)")
    parser.add_argument("--generation", type=int, choices=(1, 2), default=2, help="of the API's authentication")
    parser.add_argument("--per-minute", type=_limit, default=60, help="requests a key may make; 0: no limit")
    parser.add_argument("--per-hour", type=_limit, default=600, help="requests a key may make; 0: no limit")
    parser.add_argument("--countries", type=int, default=6, help="per campaign")
    parser.add_argument("--tracks", type=int, default=3, help="per campaign")
    parser.add_argument("--duration", type=int, help="every campaign runs from the first day for so many days")
    parser.add_argument("--gzip-members", type=int, default=0, help="compress answers, each in so many members")
    for switch in fields(Oddities):
        name = f"--{switch.name.replace('_', '-')}"
        parser.add_argument(name, action="store_true", help=switch.metadata["help"])
    parser.add_argument("--prepare", action="store_true", help="encode the last 90 days' answers before serving")
    parser.add_argument("--quiet", action="store_true", help="print the address and nothing else")
    return parser


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a host name
        return False


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _limit(text: str) -> int | None:
    return int(text) or None


if __name__ == "__main__":
    sys.exit(main())
