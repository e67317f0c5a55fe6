"""A delivery has landed whole or not at all, wherever the machine stops."""

import hashlib
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.landing.deliveries import content
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline_tests.landing.downloads import ASKED, BODY, RUN, Crash, arrived, files


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int) -> list[tuple[str, Path]]:
    """Count what reaches the disk (fsync, rename, unlink), and stop before the given step; returns the steps done."""
    done: list[tuple[str, Path]] = []
    opened: dict[int, Path] = {}

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(target: Any, *arguments: Any, **settings: Any) -> Any:
            if len(done) == step:
                raise Crash
            if name == "fsync":
                inode = os.fstat(target).st_ino
                target_path = next(path for path in opened.values() if path.exists() and path.stat().st_ino == inode)
            else:
                target_path = Path(target)
            done.append((name, target_path))
            return function(target, *arguments, **settings)

        return run

    def noted(path: Any, *arguments: Any, **settings: Any) -> int:
        descriptor = os_open(path, *arguments, **settings)
        opened[descriptor] = Path(path)
        return descriptor

    def noted_path(self: Path, *arguments: Any, **settings: Any) -> Any:
        file = path_open(self, *arguments, **settings)
        opened[file.fileno()] = self
        return file

    os_open, path_open = os.open, Path.open
    monkeypatch.setattr(os, "open", noted)
    monkeypatch.setattr(Path, "open", noted_path)
    monkeypatch.setattr(os, "fsync", counted("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", counted("rename", Path.replace))
    monkeypatch.setattr(Path, "unlink", counted("unlink", Path.unlink))
    return done


def test_a_delivery_is_durable_before_it_counts_as_landed(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = arrived(landing)
    with monkeypatch.context() as patched:
        done = crash_at(patched, -1)
        landed = landing.land(waiting)
    folder = landed.path.parent
    assert done == [
        ("fsync", landing.root),  # each new folder, in the folder it was made in
        ("fsync", folder.parent),
        ("rename", waiting.path),
        ("fsync", folder),
    ]
    assert landed.path.read_bytes() == BODY


def test_a_listing_is_durable_before_it_counts_as_landed(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    (landing.root / "campaigns").mkdir(parents=True)
    with monkeypatch.context() as patched:
        done = crash_at(patched, -1)
        listing = landing.land_listing(CAMPAIGN, [b'{"campaignId":"a"}', b'{"campaignId":"b"}'], ASKED, None, RUN)
    assert [step for step, _ in done] == ["fsync", "rename", "fsync"]
    assert done[0][1] == done[1][1] != listing.path
    assert listing.path.read_bytes() == b'{"campaignId":"a"}\n{"campaignId":"b"}\n'


def test_a_download_in_progress_is_not_taken_for_a_delivery(landing: Landing) -> None:
    arrived(landing)
    assert landing.deliveries() == landing.not_archived() == []
    assert landing.listings(CAMPAIGN) == []


def test_a_crash_at_any_step_of_archiving_loses_and_doubles_nothing(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(20):
        landed = landing.land(arrived(landing, requested_at=ASKED + timedelta(days=step)))
        known_before = len(landing.deliveries()) - 1
        with monkeypatch.context() as patched:
            done = crash_at(patched, step)
            try:
                landing.archive(landed, step + 1)
            except Crash:
                crashed = True
            else:
                crashed = False
        [kept] = [d for d in landing.deliveries() if d.delivery_id == landed.delivery_id]
        assert len(landing.deliveries()) == known_before + 1
        assert content(kept) == (len(BODY), hashlib.sha256(BODY).hexdigest())
        if not crashed:
            assert [name for name, _ in done] == ["fsync", "rename", "fsync", "unlink", "unlink"]
            assert done[0][1] == done[1][1] == done[3][1]  # the compressed file; last of all the plain one
            assert done[4][1] == landed.path
            break
        # The next run finishes what this one began.
        [unfinished] = landing.not_archived()
        assert unfinished == landed
        landing.archive(unfinished, step + 1)
        assert landing.not_archived() == []
        [archived] = [d for d in landing.deliveries() if d.delivery_id == landed.delivery_id]
        assert archived.loaded == step + 1
    else:
        raise AssertionError("archiving takes more steps than this test tries")


def test_a_full_disk_while_compressing_leaves_the_delivery_and_no_litter(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed = landing.land(arrived(landing))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            landing.archive(landed, 1)
    assert files(landing.root) == [landed.path.name]
    assert landing.not_archived() == [landed]
