"""Rows that stand under another organization now: their campaign or soundlink has moved, and nothing is lost."""

from __future__ import annotations

from soundlink_pipeline.contracts.schema import DATE_COLUMN, ORGANIZATION_COLUMN, VERSION_COLUMN, Export


def gone_for_good(export: Export) -> str:
    """Of `vanished_rows` (as `v`) those that were not moved, or were by one of the run's deliveries (`$loaded`)."""
    others = [name for name in export.row_key if name not in (export.id_column, DATE_COLUMN)]
    key = " and ".join(
        [
            f"m.{export.id_column} = v.subject_id and m.{DATE_COLUMN} = v.report_date",
            *(f"m.{name}::varchar = v.key ->> '{name}'" for name in others),
            f"m.{ORGANIZATION_COLUMN} <> v.key ->> '{ORGANIZATION_COLUMN}'",
        ]
    )
    return _unless(f"exists (from {export.name} as m where {key})", "v.vanished_delivery_id")


def changed_for_good(export: Export) -> str:
    """Of the history (as `h`) all but what was moved with its values, as in `gone_for_good`."""
    values = [name for name in export.column_names if name not in (*export.primary_key, VERSION_COLUMN)]
    same = " and ".join(
        [
            *(f"m.{name} = h.{name}" for name in export.row_key),
            *(f"m.{name} is not distinct from h.{name}" for name in values),
            f"m.{ORGANIZATION_COLUMN} <> h.{ORGANIZATION_COLUMN}",
        ]
    )
    return _unless(f"h._vanished and exists (from {export.name} as m where {same})", "h._replaced_by_delivery_id")


def _unless(moved: str, delivery: str) -> str:
    return f"(list_contains($loaded, {delivery}) or not coalesce({moved}, false))"
