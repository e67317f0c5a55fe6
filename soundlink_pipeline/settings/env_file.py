"""The file `.env` of a project folder: the settings of those who set no environment variables."""

from __future__ import annotations

from pathlib import Path

from dotenv import dotenv_values


def read_env_file(path: Path = Path(".env")) -> dict[str, str]:
    """The variables of the file, none where there is no file.

    Raises ValueError if it is not text in UTF-8: one sentence that shows nothing of it, since the key may be there.
    """
    try:
        found = {name: value or "" for name, value in dotenv_values(path).items()}
    except UnicodeDecodeError:
        found = {"\0": ""}
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    if any("\0" in name + value for name, value in found.items()):  # so UTF-16 without a mark looks
        raise ValueError(f"{path} cannot be read: it is not text in UTF-8; save it as UTF-8 in an editor")
    return found
