"""A folder as it is being read: what its readers share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from soundlink_pipeline.models.errors import NOT_HONOURED, ModelError, Notice, readable
from soundlink_pipeline.models.folder import subfolders
from soundlink_pipeline.models.model import SqlProject
from soundlink_pipeline.models.names import as_asset_name, objection_to_asset
from soundlink_pipeline.models.properties import Properties
from soundlink_pipeline.models.yaml_files import Document, YamlMap, a_name, items

# Why a model in an unreadable YAML file cannot be built.
UNUSABLE = "its YAML file cannot be used"


@dataclass
class Reading:
    """`settings` is dbt_project.yml, `documents` are the YAML files beside the models and tests.

    `properties` are the entries of models in them, or why such an entry cannot be used.
    """

    project: SqlProject
    settings: Document
    documents: list[Document] = field(default_factory=list)
    properties: dict[str, Properties | ModelError] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.project.folder

    def paths(self, key: str, default: str) -> list[Path]:
        """The folders that a key of dbt_project.yml names. Raises ModelError."""
        try:
            return subfolders(self.folder, self.settings.content.get(key), [default])
        except ValueError as error:
            raise self.settings.error(self.settings.content.line_of(key), f"{key} {error}") from None

    def note(self, path: Path, line: int | None, what: str) -> None:
        """Something that is not honoured, and that nothing fails for."""
        self.project.notices.append(Notice(path, line, NOT_HONOURED + what))

    def section(self, document: Document, key: str, within: YamlMap | None = None) -> Iterator[tuple[YamlMap, str]]:
        """The named entries of a section; an entry of another shape is an error of the file."""
        try:
            entries = list(items(document, document.content if within is None else within, key))
        except ModelError as error:
            self.project.fail(document.path.name, error)
            return
        for entry, line in entries:
            try:
                yield entry, a_name(document, entry, line, key)
            except ModelError as error:
                self.project.fail(document.path.name, error)


def asset_of_file(path: Path, root: Path, *, model: bool) -> str:
    """The name of the asset that stands for a broken file: a model's own, where it can have that; else its path."""
    if model and objection_to_asset(path.stem) is None:
        return path.stem
    return as_asset_name("_".join(readable(part) for part in path.relative_to(root).with_suffix("").parts))
