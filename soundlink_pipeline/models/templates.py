"""Renders Jinja templates as dbt does, in a sandbox; an error names the line, and every line of SQL its source.

What the templates may call is not known here: `scope` maps names to what they mean, `context.py` makes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import jinja2
import jinja2.ext
import jinja2.parser
import jinja2.runtime
import jinja2.sandbox
from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from soundlink_pipeline.models import limits
from soundlink_pipeline.models.errors import NOT_HONOURED, ModelError

# Before a macro's name, so that one that begins with _ can be called from other files, too.
MACRO_PREFIX = "macro__"
# The marks of a line: before text that stands in the template as it is, and before what an expression puts there.
_TEXT, _EXPRESSION = "\ue000", "\ue001"
_LINE = re.compile(f"([{_TEXT}{_EXPRESSION}])(\\d+)\ue002")


@dataclass(frozen=True)
class Rendered:
    """SQL, and the same with marks that tell which line of the template each piece comes from."""

    sql: str
    marked: str = ""

    def source_line(self, line: int) -> int | None:
        """The template's line of a line (from 1) of the SQL; None where that is unknown."""
        _, *pieces = _LINE.split(self.marked)
        at, found = 1, None
        for kind, number, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
            if at == line and text.partition("\n")[0].strip():
                return int(number)
            found = int(number) + (line - at if kind == _TEXT else 0)
            at += text.count("\n")
            if at > line:
                return found
        return found if at == line else None


class Return(Exception):
    """What `return(…)` raises: the macro that it stands in is worth its value."""

    def __init__(self, value: Any) -> None:
        super().__init__("return(…) belongs into a macro")
        self.value = value


def render(path: Path, text: str, scope: Mapping[str, Any]) -> Rendered:
    """The template as SQL. Raises ModelError."""
    try:
        with limits.bounded():
            template = _compiled(str(path), text, False)
            parts = []
            for part in template.root_render_func(_context(template, scope)):
                limits.characters(len(part))
                parts.append(part)
            marked = "".join(parts)
            return Rendered(_LINE.sub("", marked), marked)
    except Exception as error:  # a template's expressions may raise anything
        raise _as_model_error(error, path) from None


def value(path: Path, line: int | None, text: str, scope: Mapping[str, Any]) -> Any:
    """A text of a YAML file with its templates filled in; one that is a single expression keeps its type.

    Raises ModelError.
    """
    if "{{" not in text and "{%" not in text:
        return text
    try:
        with limits.bounded():
            template, single = _compiled_value(text)
            context = _context(template, scope)
            rendered = "".join(template.root_render_func(context))
            return context.vars["result"] if single else rendered
    except Exception as error:
        found = _as_model_error(error, path)
        raise ModelError(path, line, found.reason) from None


def macros(path: Path, text: str, scope: Mapping[str, Any]) -> Mapping[str, Any]:
    """The macros of a file, by name. Raises whatever its top level raises."""
    with limits.bounded():
        template = _compiled(str(path), text, True)
        module = template.make_module(scope, shared=True)  # type: ignore[arg-type]
        return {
            name.removeprefix(MACRO_PREFIX): found
            for name, found in vars(module).items()
            if name.startswith(MACRO_PREFIX)
        }


def macro_names(path: Path, text: str) -> list[str]:
    """The names of a file's macros, without running it. Raises ModelError."""
    try:
        tree = _JINJA.parse(text)
    except Exception as error:
        raise _as_model_error(error, path) from None
    return [macro.name for macro in tree.find_all(nodes.Macro)]


def _context(template: jinja2.Template, scope: Mapping[str, Any]) -> jinja2.runtime.Context:
    # Shared: the scope itself is asked for names, and finds macros when they are called.
    return template.new_context(scope, shared=True)  # type: ignore[arg-type]


def _as_model_error(error: Exception, path: Path) -> ModelError:
    if isinstance(error, ModelError):
        return error
    if isinstance(error, jinja2.TemplateSyntaxError):
        return ModelError(path, error.lineno, f"is not a Jinja template: {error.message}")
    frames = list(_template_frames(error.__traceback__))
    own = [line for name, line in frames if name == str(path)]
    reason = str(error) or type(error).__name__
    if isinstance(error, jinja2.UndefinedError) and reason.endswith("is undefined"):
        reason += f" ({NOT_HONOURED}a name without a meaning, which dbt takes for empty where nothing calls it)"
    if isinstance(error, (RecursionError, MemoryError)):
        reason = f"the template does not end ({type(error).__name__})"
    if frames and frames[-1][0] != str(path):
        reason += f" ({frames[-1][0]}, line {frames[-1][1]})"
    return ModelError(path, own[-1] if own else None, reason)


def _template_frames(traceback: TracebackType | None) -> Iterator[tuple[str, int]]:
    """The templates' names and lines on the way to an error."""
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if template is not None and template.name:
            yield template.name, template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next


class _Environment(jinja2.sandbox.SandboxedEnvironment):
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        limits.check_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return isinstance(value, jinja2.runtime.Macro) or super().is_safe_attribute(obj, attr, value)

    def call(self, context: jinja2.runtime.Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        limits.step()
        limits.check_call(called, args)
        try:
            return super().call(context, called, *args, **kwargs)
        except Return as returned:
            if isinstance(called, jinja2.runtime.Macro):
                return returned.value
            raise


class _GenericTest(jinja2.ext.Extension):
    """`{% test name(…) %}` is a macro whose name begins with `test_`."""

    tags = frozenset(("test", "data_test"))  # type: ignore[assignment]  # read only

    def parse(self, parser: jinja2.parser.Parser) -> nodes.Node:
        begin = next(parser.stream)
        macro = nodes.Macro(lineno=begin.lineno)
        macro.name = f"test_{parser.parse_assign_target(name_only=True).name}"
        parser.parse_signature(macro)
        macro.body = parser.parse_statements((f"name:end{begin.value}",), drop_needle=True)
        return macro


class _PassedOver(jinja2.ext.Extension):
    """Blocks that only dbt runs. What is in them is not read; `project.py` says so."""

    tags = frozenset(("materialization", "snapshot", "docs"))  # type: ignore[assignment]  # read only

    def parse(self, parser: jinja2.parser.Parser) -> list[nodes.Node]:
        begin = next(parser.stream)
        while parser.stream.current.type != "block_end":
            next(parser.stream)
        parser.parse_statements((f"name:end{begin.value}",), drop_needle=True)
        return []


# Without one of these there is nothing to prepare: walking the whole tree takes longer than reading it.
_TO_PREPARE = re.compile(r"~|\{%[-+]?\s*(?:for|macro)\b")


class _Prepared(NodeTransformer):
    """Counts what loops and joins take, and gives macros a name of which Jinja lets other files know."""

    def __init__(self, *, rename: bool) -> None:
        self.rename = rename

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        size = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        arguments: list[nodes.Expr] = [nodes.Const(size)]
        node.iter = nodes.Filter(node.iter, "counted", arguments, [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        together = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(together, "concatenated", [], [], None, None, lineno=node.lineno)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if self.rename:
            node.name = MACRO_PREFIX + node.name
        return node


def _mark_lines(body: Sequence[nodes.Node]) -> None:
    """Put the line's number before each piece of text that goes straight into the SQL."""
    for node in body:
        if isinstance(node, nodes.Output):
            node.nodes = [part for child in node.nodes for part in _marked(child)]
        elif isinstance(node, nodes.If):
            _mark_lines(node.body)
            _mark_lines(node.elif_)
            _mark_lines(node.else_)
        elif isinstance(node, (nodes.For, nodes.With)) and not getattr(node, "recursive", False):
            _mark_lines(node.body)
            _mark_lines(getattr(node, "else_", []))


def _marked(child: nodes.Expr) -> list[nodes.Expr]:
    if not isinstance(child, nodes.TemplateData):
        return [nodes.TemplateData(f"{_EXPRESSION}{child.lineno}\ue002", lineno=child.lineno), child]
    return [nodes.TemplateData(f"{_TEXT}{child.lineno}\ue002{child.data}", lineno=child.lineno)]


@lru_cache(maxsize=4096)  # a load and a run render a model more than once: for its days, and in full
def _compiled(name: str, text: str, is_macros: bool) -> jinja2.Template:
    tree = _JINJA.parse(text, name)
    if is_macros or _TO_PREPARE.search(text):
        tree = _Prepared(rename=is_macros).visit(tree)
    if not is_macros:
        _mark_lines(tree.body)
    return _template(tree, name)


@lru_cache(maxsize=4096)
def _compiled_value(text: str) -> tuple[jinja2.Template, bool]:
    tree = _Prepared(rename=False).visit(_JINJA.parse(text))
    body = tree.body
    single = (
        len(body) == 1
        and isinstance(body[0], nodes.Output)
        and len(body[0].nodes) == 1
        and not isinstance(body[0].nodes[0], nodes.TemplateData)
    )
    if single:
        tree.body = [nodes.Assign(nodes.Name("result", "store"), body[0].nodes[0], lineno=1)]
    return _template(tree, None), single


def _template(tree: nodes.Template, name: str | None) -> jinja2.Template:
    code = _JINJA.compile(tree, name, name)
    return jinja2.Template.from_code(_JINJA, code, _JINJA.make_globals(None))


def _finalized(value: Any) -> Any:
    """What is put out: its length counts."""
    text = value if isinstance(value, str) else str(value)
    limits.characters(len(text))
    return text


def _concatenated(values: list[Any]) -> str:
    texts = [_finalized(value) for value in values]
    return "".join(texts)


_JINJA = _Environment(
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    finalize=_finalized,
    extensions=["jinja2.ext.do", _GenericTest, _PassedOver],
)
for _name in ("center", "indent", "format", "batch", "slice", "replace", "join", "wordwrap", "truncate"):
    _JINJA.filters[_name] = limits.checked_filter(_name, _JINJA.filters[_name])
_JINJA.filters["counted"] = limits.counted
_JINJA.filters["concatenated"] = _concatenated

# What Jinja itself offers: range, namespace and the like.
GLOBALS = dict(_JINJA.globals)
