"""``python -m soundlink_pipeline.simulator``: the simulator as a process of its own, until SIGINT or SIGTERM."""

import argparse
import ipaddress
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from itertools import count

from soundlink_pipeline.simulator.access import DEMO_KEY, KeyInfo
from soundlink_pipeline.simulator.clock import SimClock
from soundlink_pipeline.simulator.oauth import ClientInfo
from soundlink_pipeline.simulator.oddities import Oddities
from soundlink_pipeline.simulator.server import env_lines, running_simulator
from soundlink_pipeline.simulator.world import World

# Of the OAuth client that every organization consents to: no secret.
_CLIENT, _SECRET = "demo_agency", "demo_secret"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if not options.allow_remote and not _is_loopback(options.host):
        print(f"{options.host} is not a loopback address; --allow-remote if you mean it", file=sys.stderr)
        return 2
    # Handlers first: a process that waits for the line below may send a signal as soon as it reads it.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if options.until_input_ends:
        threading.Thread(target=_until_input_ends, args=(stop,), daemon=True).start()
    worlds = [
        World(
            options.seed + number,
            options.campaigns,
            options.first_day,
            soundlinks=options.soundlinks,
            countries_per_campaign=options.countries,
            tracks_per_campaign=options.tracks,
            duration_days=options.duration,
            newest_fields=options.newest_fields,
            oddities=Oddities(**{switch.name: getattr(options, switch.name) for switch in fields(Oddities)}),
        )
        for number in range(options.organizations)
    ]
    clock = SimClock(options.now or datetime.now(UTC), running=options.now is None)
    try:
        with running_simulator(
            worlds[0],
            clock,
            generation=options.generation,
            per_minute=options.per_minute,
            per_hour=options.per_hour,
            organizations={further.account_id: further for further in worlds[1:]},
            keys={key: KeyInfo(organization=of.account_id) for key, of in zip(_keys(), worlds, strict=False)},
            clients={_CLIENT: ClientInfo(_SECRET, consents={of.account_id for of in worlds})},
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
                print(f"OAuth client {_CLIENT} with the secret {_SECRET}, for the organizations", flush=True)
                for key, info in simulator.keys.items():
                    print(f"  {info.organization} (key {key})", flush=True)
            stop.wait()
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _until_input_ends(stop: threading.Event) -> None:
    """Whoever has started this process with a pipe is gone then, however it ended."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m soundlink_pipeline.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765, help="0 picks a free one")
    parser.add_argument("--allow-remote", action="store_true", help="listen beyond loopback; its switches need no key")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same data")
    parser.add_argument("--campaigns", type=int, default=12)
    parser.add_argument("--soundlinks", type=int, default=0)
    parser.add_argument(
        "--organizations", type=_positive, default=1, help="each with its key, seeds one after the other"
    )
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
    newest = "rows have the fields that only the newest documentation names"
    parser.add_argument("--newest-fields", action="store_true", help=newest)
    parser.add_argument("--prepare", action="store_true", help="encode the last 90 days' answers before serving")
    parser.add_argument("--until-input-ends", action="store_true", help="end, too, when standard input does")
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


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _keys() -> Iterator[str]:
    """That of the first organization, of the second, …"""
    yield DEMO_KEY
    yield from (f"{DEMO_KEY}_{number}" for number in count(2))


def _limit(text: str) -> int | None:
    return int(text) or None


if __name__ == "__main__":
    sys.exit(main())
