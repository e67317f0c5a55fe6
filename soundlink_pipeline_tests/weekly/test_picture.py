"""The bars of a mail, read back with another library."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from soundlink_pipeline.weekly.picture import FINAL, HEIGHT, PROVISIONAL, WIDTH, bars


def pixels(*values: float, final: list[bool] | None = None) -> np.ndarray:
    content = bars(values, is_final=final or [True] * len(values))
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        assert (picture.format, picture.size, picture.mode) == ("PNG", (WIDTH, HEIGHT), "RGB")
        return np.asarray(picture)


def heights(picture: np.ndarray, count: int, colour: tuple[int, int, int] = FINAL) -> list[int]:
    """Of each bar how many rows have its colour, in its middle column."""
    middles = [round((place + 0.5) * WIDTH / count) for place in range(count)]
    return [int((picture[:, column] == colour).all(axis=1).sum()) for column in middles]


def test_bars_are_as_high_as_their_values_and_the_highest_fills_the_picture() -> None:
    assert heights(pixels(100, 50, 0, 25), 4) == [HEIGHT - 4, (HEIGHT - 4) // 2, 0, (HEIGHT - 4) // 4]


def test_what_may_still_change_is_pale() -> None:
    picture = pixels(10, 10, final=[True, False])
    assert heights(picture, 2) == [HEIGHT - 4, 0]
    assert heights(picture, 2, PROVISIONAL) == [0, HEIGHT - 4]


def test_little_is_seen_and_nothing_or_less_is_not() -> None:
    assert heights(pixels(1_000_000, 1, 0, -5), 4) == [HEIGHT - 4, 2, 0, 0]
    assert heights(pixels(0, 0), 2) == [0, 0]
    assert pixels().shape == (HEIGHT, WIDTH, 3)


def test_bars_do_not_touch_also_where_there_are_many() -> None:
    picture = pixels(*[1] * 28)
    row = (picture[100] == FINAL).all(axis=1)
    assert (np.diff(row.astype(int)) == 1).sum() == 28
