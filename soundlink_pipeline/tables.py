"""Rows as a Markdown table, for what the UI shows beside an asset or a check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with one line per row, values as pandas writes them."""
    import pandas as pd  # noqa: PLC0415  (takes half a second, which loading Dagster's definitions should not pay)

    return pd.DataFrame(list(rows), columns=list(columns)).to_markdown(index=False)
