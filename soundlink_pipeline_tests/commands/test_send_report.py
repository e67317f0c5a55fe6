"""`soundlink report --send`: the weekly report now, to try the settings with."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import quote

import pytest

from soundlink_pipeline_tests.support.mail_server import PASSWORD, USER, mail_server
from soundlink_pipeline_tests.support.report_database import published_database
from soundlink_pipeline_tests.support.terminal import soundlink


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published_database(tmp_path_factory.mktemp("published"))


@pytest.fixture
def folder(tmp_path: Path, made: Path) -> Path:
    assert soundlink("init", "project", cwd=tmp_path).code == 0
    (tmp_path / "project" / "data").mkdir(exist_ok=True)
    shutil.copy(made, tmp_path / "project" / "data" / "soundlink.duckdb")
    return tmp_path / "project"


def receiver(folder: Path, url: str) -> None:
    with (folder / ".env").open("a", encoding="utf-8") as file:
        file.write(f"\nSOUNDLINK_REPORT_URL={url}\n")


def test_it_sends_now_and_again_and_says_so(folder: Path) -> None:
    with mail_server() as server:
        receiver(
            folder,
            f"mailto://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/?to=anna@example.com&from=a@b.de",
        )
        for _ in range(2):
            said = soundlink("report", "--send", cwd=folder)
            assert (said.code, said.out, said.err) == (0, "Receiver 1 of 1: sent.\n", "")
        assert [arrived.mail["Subject"] for arrived in server.arrived] == ["Soundlink, 2026-04-13 to 2026-04-19"] * 2
        server.answers["AUTH"] = f"535 {USER} {PASSWORD}"
        said = soundlink("report", "--send", cwd=folder)
        assert (said.code, said.out) == (1, "")
        assert said.err == "Receiver 1 of 1: the mail server refused the login (SMTP 535)\n"


def test_without_a_receiver_or_with_a_bad_one_it_says_what_to_do(folder: Path) -> None:
    said = soundlink("report", "--send", cwd=folder)
    assert (said.code, said.out) == (2, "")
    assert said.err == "The report was not sent: SOUNDLINK_REPORT_URL is not set. Name a receiver in .env.\n"
    receiver(folder, "http://hooks.example.com/hidden-part")
    said = soundlink("report", "--send", cwd=folder)
    assert (said.code, said.out) == (2, "")
    assert "SOUNDLINK_REPORT_URL is plain http" in said.err
    assert "hidden-part" not in said.err
    assert soundlink("report", "--send", "--campaign=a", cwd=folder).code == 2
