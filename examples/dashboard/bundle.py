"""Makes of pages.py and sql/ what Superset imports: `python bundle.py FILE dashboard.zip` for a Superset of your own.

FILE is the published file, at the path at which that Superset finds it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from zipfile import ZipFile

import duckdb
import yaml
from pages import PAGES, Chart

SLUG = "soundlink"
_TITLE = "Soundlink"
_SQL = Path(__file__).parent / "sql"
_CSS = (Path(__file__).parent / "narrow.css").read_text(encoding="utf-8")
_ROOT, _GRID, _TABS = "ROOT_ID", "GRID_ID", "TABS-pages"
_COLUMNS, _PIXELS_A_UNIT = 12, 8


def bundle(file: Path) -> dict[str, str]:
    """The files of the import, by their paths in it."""
    made: dict[str, dict[str, Any]] = {
        "metadata.yaml": {"version": "1.0.0", "type": "Dashboard", "timestamp": "2026-01-01T00:00:00+00:00"},
        "databases/soundlink.yaml": _database(file),
    }
    for sql in sorted(_SQL.glob("*.sql")):
        made[f"datasets/soundlink/{sql.stem}.yaml"] = _dataset(file, sql)
    charts = [chart for page in PAGES for chart in page.charts]
    for chart in charts:
        made[f"charts/{_uuid(chart.title)}.yaml"] = _chart(chart)
    made["dashboards/soundlink.yaml"] = _dashboard()
    return {path: yaml.safe_dump(config, sort_keys=False, allow_unicode=True) for path, config in made.items()}


def _uuid(name: str) -> str:
    """The same in every import, so that a new one replaces the old."""
    return str(uuid5(NAMESPACE_URL, f"soundlink-pipeline/dashboard/{name}"))


def _database(file: Path) -> dict[str, Any]:
    """The published file, read-only. Superset opens it for each query and closes it, so it sees each publication."""
    # Without access to other files, a formula in a chart cannot read them.
    options = {"read_only": True, "config": {"enable_external_access": False, "lock_configuration": True}}
    return {
        "database_name": "Soundlink",
        "sqlalchemy_uri": f"duckdb:///{file}",
        "expose_in_sqllab": True,
        "allow_file_upload": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_dml": False,
        "extra": {"engine_params": {"connect_args": options}},
        "uuid": _uuid("database"),
        "version": "1.0.0",
    }


def _dataset(file: Path, sql: Path) -> dict[str, Any]:
    text = sql.read_text(encoding="utf-8")
    with duckdb.connect(str(file), read_only=True) as connection:
        columns = connection.execute(f"describe {text}").fetchall()
    return {
        "table_name": sql.stem,
        "sql": text,
        "columns": [
            {
                "column_name": name,
                "verbose_name": name.replace("_", " "),
                "type": kind,
                "is_dttm": kind in ("DATE", "TIMESTAMP"),
                "groupby": True,
                "filterable": True,
            }
            for name, kind, *_ in columns
        ],
        "metrics": [],
        "uuid": _uuid(f"data/{sql.stem}"),
        "database_uuid": _uuid("database"),
        "version": "1.0.0",
    }


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "slice_name": chart.title,
        "viz_type": chart.kind,
        "params": {"viz_type": chart.kind, "adhoc_filters": [], **chart.settings},
        "uuid": _uuid(chart.title),
        "dataset_uuid": _uuid(f"data/{chart.data}"),
        "version": "1.0.0",
    }


def _dashboard() -> dict[str, Any]:
    return {
        "dashboard_title": _TITLE,
        "slug": SLUG,
        "css": _CSS,
        "published": True,
        "position": _position(),
        "metadata": {"color_scheme": "supersetColors", "cross_filters_enabled": False, "refresh_frequency": 0},
        "uuid": _uuid("dashboard"),
        "version": "1.0.0",
    }


def _position() -> dict[str, Any]:
    """Superset's tree of parts, flat, each with the ids of those it holds."""
    parts: dict[str, Any] = {"DASHBOARD_VERSION_KEY": "v2"}

    def add(kind: str, id_: str, parents: tuple[str, ...], **meta: Any) -> tuple[str, ...]:
        parts[id_] = {"type": kind, "id": id_, "children": [], "parents": list(parents), "meta": meta}
        if parents:
            parts[parents[-1]]["children"].append(id_)
        return (*parents, id_)

    root = add("ROOT", _ROOT, ())
    tabs = add("TABS", _TABS, add("GRID", _GRID, root))
    add("HEADER", "HEADER_ID", (), text=_TITLE)
    for number, page in enumerate(PAGES):
        tab = add("TAB", f"TAB-{number}", tabs, text=page.title)
        row = add("ROW", f"ROW-{number}-says", tab, background="BACKGROUND_TRANSPARENT")
        add("MARKDOWN", f"MARKDOWN-{number}", row, code=page.says, width=_COLUMNS, height=7)
        for place, chart in enumerate(page.charts):
            row = add("ROW", f"ROW-{number}-{place}", tab, background="BACKGROUND_TRANSPARENT")
            size = {"width": _COLUMNS, "height": chart.height // _PIXELS_A_UNIT}
            uuid = _uuid(chart.title)
            add("CHART", f"CHART-{uuid}", row, uuid=uuid, sliceName=chart.title, chartId=0, **size)
    return parts


def main() -> None:
    file, target = (Path(argument) for argument in sys.argv[1:3])
    with ZipFile(target, "w") as archive:
        for path, text in bundle(file.absolute()).items():
            archive.writestr(f"soundlink/{path}", text)


if __name__ == "__main__":
    main()
