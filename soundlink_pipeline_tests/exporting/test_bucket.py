"""Exports to S3 and Google Cloud Storage, over HTTP to a small store on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from soundlink_pipeline.exporting.asset import JOB
from soundlink_pipeline.exporting.object_store import open_bucket
from soundlink_pipeline.exporting.store import ExportFailed, Store
from soundlink_pipeline_tests.exporting.shared import Rows, Source, by_manifest, by_pattern, exported, with_rows
from soundlink_pipeline_tests.support.bucket_server import ACCESS_KEY, SECRET_KEY, BucketServer, running_bucket
from soundlink_pipeline_tests.support.project import project

TARGET = "s3://exports/team/soundlink"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    with running_bucket() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        yield server


def once(target: str) -> Store:
    """The store with requests that are made once."""
    return open_bucket(target, {"max_retries": 0, "retry_timeout": timedelta(seconds=5)})


def downloaded(bucket: BucketServer, folder: Path, prefix: str = "team/soundlink/") -> Path:
    """What is in the store, as files."""
    for name, content in bucket.objects.items():
        path = folder / name.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def refusal(source: Source, target: str = TARGET) -> str:
    with pytest.raises(ExportFailed) as caught:
        source.export(target, opened=once)
    said = str(caught.value)
    assert "\n" not in said
    for secret in (ACCESS_KEY, SECRET_KEY, "AKIAWRONG", "Signature"):
        assert secret not in said
    return said


def test_s3_gets_what_a_folder_gets(small: Source, bucket: BucketServer, tmp_path: Path) -> None:
    small.change("create schema marts", 'create table marts."a b/é" as select 1 as x')
    small.export(TARGET)
    assert all(name.startswith("team/soundlink/") for name in bucket.objects)
    here = downloaded(bucket, tmp_path / "here")
    assert by_manifest(here) == exported(small)
    assert by_pattern(here) == with_rows(exported(small))
    before = dict(bucket.objects)
    assert small.export(TARGET).files == 0
    assert bucket.objects == before
    small.pull("2026-04-02", "2026-04-03", streams=9, models=False)
    assert small.export(TARGET).days == ["2026-04-02", "2026-04-03"]
    assert by_manifest(downloaded(bucket, tmp_path / "there")) == exported(small)


def test_google_cloud_storage_gets_the_same(
    small: Source, bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = {"gcs_base_url": bucket.url, "disable_oauth": True, "client_email": "", "private_key": ""}
    (tmp_path / "account.json").write_text(json.dumps(account | {"private_key_id": ""}))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
    small.export("gs://exports/team/soundlink")
    small.pull("2026-04-02", "2026-04-03", streams=9, models=False)
    small.export("gs://exports/team/soundlink")
    here = downloaded(bucket, tmp_path / "here")
    assert by_manifest(here) == exported(small)
    assert by_pattern(here) == with_rows(exported(small))


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_store_that_fails_at_any_request_leaves_a_whole_state(
    small: Source, bucket: BucketServer, tmp_path: Path, done: bool
) -> None:
    old = exported(small)
    small.export(TARGET)
    first = dict(bucket.objects)
    small.pull("2026-04-02", "2026-04-03", streams=9, models=False)
    new = exported(small)
    bucket.done = done
    states: set[bool] = set()
    for fail_at in range(1, 1000, 3 if done else 1):
        bucket.objects, bucket.requests, bucket.fail_at = dict(first), [], fail_at
        try:
            small.export(TARGET, opened=once)
        except ExportFailed:
            states.add(_whole(bucket, tmp_path / f"failed-{fail_at}", old, new))
        else:
            break
        bucket.fail_at = None
        small.export(TARGET, opened=once)
        here = downloaded(bucket, tmp_path / f"healed-{fail_at}")
        assert by_manifest(here) == new
        assert by_pattern(here) == with_rows(new)
    assert states == {False, True}
    assert fail_at > 15


def _whole(bucket: BucketServer, folder: Path, old: Rows, new: Rows) -> bool:
    """Whether readers by the manifest have the new state; fails if they have neither."""
    found = by_manifest(downloaded(bucket, folder))
    assert found in (old, new)
    return found == new


def test_a_store_that_fails_for_a_moment_is_asked_again(small: Source, bucket: BucketServer, tmp_path: Path) -> None:
    bucket.failure, bucket.fail_at = (503, "SlowDown"), 3
    real = bucket.fails_now
    bucket.fails_now = lambda: real() and len(bucket.requests) < 6  # type: ignore[method-assign]
    small.export(TARGET)
    assert by_manifest(downloaded(bucket, tmp_path / "here")) == exported(small)


def test_a_large_file_comes_in_parts_and_is_seen_whole(bucket: BucketServer, tmp_path: Path) -> None:
    content = bytes(range(256)) * 50_000
    (tmp_path / "large").write_bytes(content)
    once(TARGET).put(tmp_path / "large", "large.parquet")
    assert bucket.objects == {"team/soundlink/large.parquet": content}
    assert any("partNumber=3" in request for request in bucket.requests)


def test_wrong_missing_and_refused_credentials_are_one_sentence_without_them(
    small: Source, bucket: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.fail_at, bucket.failure = 4, (403, "AccessDenied")
    assert "it refuses the credentials in the environment (AccessDenied)" in refusal(small)
    bucket.fail_at = None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    assert "it refuses the credentials in the environment (InvalidAccessKeyId)" in refusal(small)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    assert "the environment has no credentials for it" in refusal(small)
    assert bucket.objects.keys() <= {name for name in bucket.objects if "/_versions/" in name}


def test_a_bucket_that_is_not_there_and_a_store_that_is_down_are_told(
    small: Source, bucket: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(small, "s3://other-bucket/x") == (
        "s3://other-bucket/x did not let the export read manifest.json: there is no such bucket; make it, or name"
        " another one"
    )
    bucket.fail_at, bucket.failure = 2, (500, "InternalError")
    assert "it failed (InternalError); the next export goes on" in refusal(small)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "it cannot be reached; the next export goes on" in refusal(small)


@pytest.mark.parametrize("failure", [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")])
def test_a_store_that_is_asked_in_the_wrong_place_is_told_with_the_variables(
    small: Source, bucket: BucketServer, failure: tuple[int, str]
) -> None:
    bucket.fail_at, bucket.failure = 1, failure
    assert "see whether AWS_REGION, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID" in refusal(small)


def test_an_endpoint_that_is_no_address_is_told(
    small: Source, bucket: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("not an address", "minio.example:9000", "http://", "https://a b"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", text)
        assert refusal(small).startswith("AWS_ENDPOINT_URL is no address such as https://minio.example:9000")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio.example:99999")
    assert "see whether AWS_REGION, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID" in refusal(small)


@pytest.mark.parametrize("name", ["..", ".hidden", "x" * 300])
def test_odd_names_of_models_reach_a_bucket_as_they_reach_a_folder(
    small: Source, bucket: BucketServer, tmp_path: Path, name: str
) -> None:
    small.change("create schema marts", f'create table marts."{name}" as select 1 as x')
    small.export(TARGET, opened=once)
    assert by_manifest(downloaded(bucket, tmp_path / "here")) == exported(small)
    assert small.export(TARGET, opened=once).files == 0


def test_a_prefix_that_holds_something_else_is_refused(small: Source, bucket: BucketServer) -> None:
    bucket.objects["team/soundlink/report.csv"] = b"mine"
    bucket.objects["team/soundlinks.csv"] = b"beside it"
    assert "holds report.csv, which no export has put there" in refusal(small)
    assert len(bucket.objects) == 2


def test_credentials_appear_nowhere(tmp_path: Path, bucket: BucketServer, capfd: pytest.CaptureFixture[str]) -> None:
    with project(tmp_path) as made:
        made.settings["SOUNDLINK_EXPORT_TO"] = TARGET
        assert made.refresh("2026-02-20", "2026-02-21").success
        assert made.execute(JOB).success
        bucket.fail_at, bucket.failure = 1, (403, "SignatureDoesNotMatch")
        assert not made.execute(JOB, raise_on_error=False).success
        seen = {str(path): content for path, content in made.texts()} | bucket.objects
    seen |= {"output": "".join(capfd.readouterr()).encode()}
    for name, content in seen.items():
        for secret in (ACCESS_KEY, SECRET_KEY):
            assert secret.encode() not in content, name
