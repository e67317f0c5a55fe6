"""A landed file that is not what landed is called damaged, whatever happened to it, and never read as fewer rows."""

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.durable import sync
from soundlink_pipeline.landing.deliveries import Delivery, HashedDelivery, content, digest_of, read_name
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.landing.stored import DamagedFile
from soundlink_pipeline_tests.landing.downloads import ASKED, BODY, RUN, arrived, files
from soundlink_pipeline_tests.support.damage import DAMAGES, flipped

SHA256 = hashlib.sha256(BODY).hexdigest()
LINES = b'{"campaignId":"a"}\n{"campaignId":"b"}\n'


def landed(landing: Landing, *, compressed: bool = True, digest: str | None = digest_of(SHA256)) -> Delivery:
    delivery = landing.land(arrived(landing, digest=digest))
    return landing.archive(delivery, 1) if compressed else delivery


def frame(body: bytes, *, checksum: bool = False, size: bool = False) -> bytes:
    """A compressed file as earlier versions wrote it, unless told otherwise."""
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.checksum_flag: int(checksum)})
    if size:
        compressor.set_pledged_input_size(len(body))
    return compressor.compress(body) + compressor.flush()


@contextlib.contextmanager
def told_as_damaged(path: Path) -> Iterator[None]:
    with pytest.raises(DamagedFile) as told:
        yield
    assert str(told.value).startswith(f"the landed file {path} is damaged: it")
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
@pytest.mark.parametrize("compressed", [True, False], ids=["compressed", "plain"])
def test_every_damage_to_a_delivery_is_noticed(
    landing: Landing, compressed: bool, damage: Callable[[Path], None]
) -> None:
    delivery = landed(landing, compressed=compressed)
    assert HashedDelivery.of(delivery).sha256 == SHA256
    damage(delivery.path)
    [found] = landing.deliveries()
    with told_as_damaged(delivery.path):
        HashedDelivery.of(found)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
@pytest.mark.parametrize("compressed", [True, False], ids=["compressed", "plain"])
def test_every_damage_to_a_listing_is_noticed(
    landing: Landing, compressed: bool, damage: Callable[[Path], None]
) -> None:
    listing = landing.land_listing(CAMPAIGN, LINES.splitlines(), ASKED, None, RUN)
    if compressed:
        landing.archive_listing(listing)
    [listing] = landing.listings(CAMPAIGN)
    assert listing.items(CAMPAIGN) == [{"campaignId": "a"}, {"campaignId": "b"}]
    damage(listing.path)
    [found] = landing.listings(CAMPAIGN)
    with pytest.raises(DamagedFile):
        found.items(CAMPAIGN)


def test_a_file_that_is_gone_is_damaged(landing: Landing) -> None:
    delivery = landed(landing)
    delivery.path.unlink()
    with told_as_damaged(delivery.path):
        content(delivery)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_damaged(landing: Landing) -> None:
    delivery = landed(landing)
    delivery.path.chmod(0)
    with told_as_damaged(delivery.path):
        content(delivery)


@pytest.mark.parametrize("earlier", [True, False], ids=["of an earlier version", "of this version"])
def test_a_compressed_file_that_is_cut_anywhere_is_damaged(landing: Landing, earlier: bool) -> None:
    """DuckDB reads such a file as one of fewer rows, mostly none, and says nothing."""
    listing = landing.land_listing(CAMPAIGN, LINES.splitlines(), ASKED, None, RUN)
    landing.archive_listing(listing)
    [listing] = landing.listings(CAMPAIGN)
    whole = listing.path.read_bytes()
    if earlier:
        whole = frame(LINES)
        old = listing.path.with_name(replace(listing, digest=None).name + ".zst")
        listing.path.rename(old)
        listing = replace(listing, path=old, digest=None)
    listing.path.write_bytes(whole)
    assert listing.lines(CAMPAIGN) == LINES.decode().splitlines()
    for length in range(len(whole)):
        listing.path.write_bytes(whole[:length])
        with told_as_damaged(listing.path):
            listing.lines(CAMPAIGN)


def test_a_flipped_bit_anywhere_in_a_compressed_file_is_noticed(landing: Landing) -> None:
    delivery = landed(landing)
    whole = delivery.path.read_bytes()
    for at in range(len(whole)):
        delivery.path.write_bytes(flipped(whole, at, at % 8))
        with contextlib.suppress(DamagedFile):  # a bit of the frame's header that means nothing
            assert HashedDelivery.of(delivery).sha256 == SHA256


def test_a_compressed_file_proves_itself_without_its_name(landing: Landing) -> None:
    """To DuckDB, to `zstd -t`, and to whoever has only the file."""
    delivery = landed(landing, digest=None)
    whole = delivery.path.read_bytes()
    assert zstd.get_frame_info(whole).decompressed_size == len(BODY)
    for at in range(8, len(whole)):
        with pytest.raises(zstd.ZstdError):
            zstd.decompress(flipped(whole, at))


def test_a_file_that_holds_other_bytes_than_arrived_is_damaged(landing: Landing) -> None:
    delivery = landed(landing)
    delivery.path.write_bytes(frame(BODY.replace(b"Sunrise", b"Moonset"), checksum=True, size=True))
    with told_as_damaged(delivery.path):
        HashedDelivery.of(delivery)


@pytest.mark.parametrize(
    "whole",
    [
        frame(BODY),
        frame(BODY, checksum=True, size=True),
        frame(BODY[:1000]) + frame(BODY[1000:]),
        frame(BODY[:1000], checksum=True, size=True) + frame(BODY[1000:], checksum=True, size=True),
        frame(BODY) + frame(b""),
        b"\x50\x2a\x4d\x18\x04\0\0\0skip" + frame(BODY),
    ],
    ids=[
        "of an earlier version",
        "with checksum",
        "two frames",
        "two with checksum",
        "an empty frame",
        "a skipped one",
    ],
)
def test_whatever_decompresses_to_what_arrived_is_whole(landing: Landing, whole: bytes) -> None:
    delivery = landed(landing)
    delivery.path.write_bytes(whole)
    assert HashedDelivery.of(delivery).sha256 == SHA256


def test_a_name_of_an_earlier_version_is_read_as_it_is(landing: Landing) -> None:
    delivery = landed(landing, digest=None)
    assert "sha256" not in delivery.path.name
    assert read_name(delivery.path) == delivery
    listing = landing.land_listing(CAMPAIGN, [b'{"campaignId":"a"}'], ASKED, None, RUN)
    old = listing.path.rename(listing.path.with_name(replace(listing, digest=None).name))
    assert landing.listings(CAMPAIGN) == [replace(listing, path=old, digest=None)]


def test_the_longest_name_fits_with_the_reason_beside_it(landing: Landing) -> None:
    delivery = landing.land(arrived(landing, digest=digest_of(SHA256), declared_rows=10**15))
    where = landing.refuse(landing.archive(delivery, 10**9), "why")
    assert len(where.name + ".reason.txt") <= 255


@pytest.mark.parametrize(
    "line",
    ["", "[]", "null", '"a"', "{}", '{"campaignId":null}', '{"campaignId":"a"', "\udcff"],
    ids=["blank", "list", "null", "text", "no id", "no text as id", "cut", "not UTF-8"],
)
def test_a_listing_with_a_line_that_is_no_campaign_is_damaged(landing: Landing, line: str) -> None:
    lines = [b'{"campaignId":"a"}', line.encode(errors="surrogateescape")]
    listing = landing.land_listing(CAMPAIGN, lines, ASKED, None, RUN)
    with pytest.raises(DamagedFile, match=r"is damaged: line 2 is not a campaign$"):
        listing.items(CAMPAIGN)


def test_a_listing_of_no_campaigns_is_whole(landing: Landing) -> None:
    listing = landing.land_listing(CAMPAIGN, [], ASKED, None, RUN)
    assert listing.items(CAMPAIGN) == []
    landing.archive_listing(listing)
    assert [found.items(CAMPAIGN) for found in landing.listings(CAMPAIGN)] == [[]]


# Written


@pytest.mark.parametrize("written", [b"", b"other bytes", BODY[:-1]], ids=["nothing", "other bytes", "a byte less"])
def test_a_file_is_not_deleted_before_its_compressed_bytes_were_read_back(
    landing: Landing, monkeypatch: pytest.MonkeyPatch, written: bytes
) -> None:
    """What the disk gives back is not what was written: the plain file stays, and no compressed one."""
    delivery = landed(landing, compressed=False)

    def spoil(file: BinaryIO) -> None:
        sync(file)
        Path(file.name).write_bytes(frame(written))

    with monkeypatch.context() as patch:
        patch.setattr("soundlink_pipeline.landing.stored.sync", spoil)
        with pytest.raises(DamagedFile, match="does not hold the bytes of"):
            landing.archive(delivery, 1)
    assert files(landing.root) == [delivery.path.name]
    assert landing.archive(delivery, 1).path.exists()


def test_a_plain_file_that_changed_since_it_landed_is_not_compressed(landing: Landing) -> None:
    delivery = landed(landing, compressed=False)
    delivery.path.write_bytes(BODY.replace(b"Sunrise", b"Moonset"))
    with told_as_damaged(delivery.path):
        landing.archive(delivery, 1)
    assert files(landing.root) == [delivery.path.name]


def test_a_file_that_shrinks_while_it_is_compressed_is_kept(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = landed(landing, compressed=False, digest=None)
    fstat = os.fstat

    def larger(file: int) -> os.stat_result:
        return os.stat_result((*fstat(file)[:6], len(BODY) + 1, *fstat(file)[7:]))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", larger)
        with told_as_damaged(delivery.path):
            landing.archive(delivery, 1)
    assert files(landing.root) == [delivery.path.name]


# Set aside


@pytest.mark.parametrize("damage", ["a folder", "a pipe", "a link to itself", "no bytes"])
def test_whatever_lies_under_a_landed_name_can_be_set_aside(landing: Landing, damage: str) -> None:
    delivery = landed(landing)
    DAMAGES[damage](delivery.path)
    where = landing.refuse(delivery, "why")
    assert os.path.lexists(where)
    assert where.with_name(where.name + ".reason.txt").read_text() == "why\n"
    assert landing.deliveries() == []


def test_a_listing_is_set_aside_with_its_reason(landing: Landing) -> None:
    listing = landing.land_listing(CAMPAIGN, [b"?"], ASKED, None, RUN)
    where = landing.refuse_listing(listing, "why")
    assert where == landing.quarantine / "campaigns" / listing.path.name
    assert files(landing.quarantine) == [listing.path.name, listing.path.name + ".reason.txt"]
    assert landing.listings(CAMPAIGN) == []


def test_what_is_gone_leaves_no_reason_behind(landing: Landing) -> None:
    delivery = landed(landing)
    delivery.path.unlink()
    with pytest.raises(FileNotFoundError):
        landing.refuse(delivery, "why")
    assert files(landing.quarantine) == []


def test_a_folder_under_an_old_name_does_not_stop_the_sweep(landing: Landing) -> None:
    delivery = landed(landing)
    DAMAGES["a folder"](delivery.path)
    assert landing.sweep(ASKED + timedelta(days=900), retention_days=1) == 0
    assert delivery.path.is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_told(landing: Landing) -> None:
    folder = landed(landing).path.parent
    folder.chmod(0)
    try:
        assert landing.unreadable_folders() == {folder: "Permission denied"}
    finally:
        folder.chmod(0o755)
    assert landing.unreadable_folders() == {}
