"""The order of building: after what a model refs, and where that is possible after what its tests look into."""

from __future__ import annotations

import graphlib
import re
from collections.abc import Callable, Iterator, Mapping

from soundlink_pipeline.models.errors import NOT_HONOURED, ModelError
from soundlink_pipeline.models.folder import line_of
from soundlink_pipeline.models.model import Model, SqlProject, needs
from soundlink_pipeline.models.tests import read_entry

_REF = re.compile(r"""ref\(\s*['"](\w+)['"]\s*\)""")


def put_in_order(project: SqlProject, found: Mapping[str, Model]) -> None:
    """Sort the models by dependency into `project`; a missing dependency and a circle are errors."""
    left = dict(found)
    errors: dict[str, ModelError] = {}

    def lose(name: str, error: ModelError) -> None:
        errors[name] = error
        del left[name]
        project.fail(name, error)

    for model in found.values():
        for name in model.refs:
            if name not in found and model.name in left:
                lose(model.name, _no_ref(project, model, name))
    compared = {name: {other for other in _compared_with(model) if other != name} for name, model in left.items()}
    while True:
        _lose_dependents(left, errors, lose)
        before = {
            name: sorted({*_inputs(model, left), *(other for other in compared[name] if other in left)})
            for name, model in left.items()
        }
        try:
            order = list(graphlib.TopologicalSorter(before).static_order())
        except graphlib.CycleError as error:
            circle: list[str] = error.args[1]
            if any(compared[name] & set(circle) for name in circle):
                # A test can wait until both are built; a model cannot.
                for name in circle:
                    compared[name] -= set(circle)
                continue
            for name in set(circle):
                model = left[name]
                line = next((line_of(model.text, ref) for ref in model.refs if ref in circle), None)
                reason = f"is part of a circle of refs: {' -> '.join(circle)}"
                lose(name, ModelError(model.path, line, reason))
        else:
            project.models = {name: left[name] for name in order}
            return


def _lose_dependents(
    left: dict[str, Model], errors: Mapping[str, ModelError], lose: Callable[[str, ModelError], None]
) -> None:
    while True:
        unmet = [(model, name) for model in left.values() for name in model.refs if name not in left]
        if not unmet:
            return
        for model, name in unmet:
            if model.name in left:
                lose(model.name, needs(model, name, errors[name]))


def _inputs(model: Model, left: Mapping[str, Model]) -> Iterator[str]:
    """The models that have to be there: those it refs, and those that fill its sources."""
    yield from model.refs
    for source in model.sources:
        yield from (asset for asset in source.assets if asset in left)


def _no_ref(project: SqlProject, model: Model, name: str) -> ModelError:
    line = line_of(model.text, name)
    if error := project.missing.get(("", name)):
        return ModelError(model.path, line, f"needs {name}: {error}")
    if error := project.errors.get(name):
        return needs(model, name, error)
    packaged = f"; {NOT_HONOURED}packages, one of which may have it" if project.packages else ""
    return ModelError(model.path, line, f"there is no model {name!r} to ref{packaged}")


def _compared_with(model: Model) -> Iterator[str]:
    if model.properties is None:
        return
    for entry in model.properties.tests:
        try:
            test = read_entry(entry, model.properties.document.path)
        except ModelError:
            continue  # told where the tests are read
        for value in test.arguments.values():
            if isinstance(value, str):
                yield from _REF.findall(value)
