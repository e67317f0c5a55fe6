"""Bounds what a template may take: one that loops for ever, or builds up a text without end, is an error.

Everything a template does passes one of these: a round of a loop, a call, an operator, a filter, an output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

STEPS = 200_000
CHARACTERS = 4_000_000
_LARGEST_NUMBER_BITS = 10_000
_LONG_NUMBER = re.compile(r"\d{6,}|\*")


class TooMuch(Exception):
    """A template that takes more than a model ever needs."""


class _Spent:
    def __init__(self) -> None:
        self.steps = self.characters = 0


_spent: ContextVar[_Spent | None] = ContextVar("spent", default=None)


@contextmanager
def bounded() -> Iterator[None]:
    """What is rendered within counts together, that of nested renderings too."""
    if _spent.get() is not None:
        yield
        return
    token = _spent.set(_Spent())
    try:
        yield
    finally:
        _spent.reset(token)


def step() -> None:
    """A round of a loop, or a call. Raises TooMuch."""
    spent = _spent.get()
    if spent is not None:
        spent.steps += 1
        if spent.steps > STEPS:
            raise TooMuch(f"the template takes more than {STEPS:,} steps; does it loop for ever?")


def characters(count: int) -> None:
    """So many characters more. Raises TooMuch."""
    spent = _spent.get()
    total = count
    if spent is not None:
        spent.characters += count
        total = spent.characters
    if total > CHARACTERS:
        raise TooMuch(f"the template makes more than {CHARACTERS:,} characters")


def counted(values: Iterable[Any], size: int) -> Iterator[Any]:
    """The values of a loop whose body has `size` characters of text."""
    for value in values:
        step()
        characters(size)
        yield value


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Before `left operator right`. Raises TooMuch."""
    if operator == "%":
        if isinstance(left, str) and _LONG_NUMBER.search(left):
            raise TooMuch("a format with a width of six digits or more, or with *")
    elif isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * (abs(right) if operator == "**" else 1) + right.bit_length()
        if bits > _LARGEST_NUMBER_BITS:
            raise TooMuch("a number of thousands of digits")
    elif operator == "*":
        for text, times in ((left, right), (right, left)):
            if isinstance(text, (str, list, tuple)) and isinstance(times, int):
                characters(len(text) * max(times, 0))
    elif operator == "+" and isinstance(left, (str, list, tuple)) and isinstance(right, (str, list, tuple)):
        characters(len(left) + len(right))


def check_call(called: Any, arguments: tuple[Any, ...]) -> None:
    """Before a method of a text is called. Raises TooMuch."""
    text = getattr(called, "__self__", None)
    if not isinstance(text, str):
        return
    name = getattr(called, "__name__", "")
    if name in ("format", "format_map"):
        check_operation("%", text.replace("*", ""), None)
    else:
        _check_text(name, text, arguments)


def checked_filter(name: str, given: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of Jinja's that can make much out of little."""

    def limited(*arguments: Any, **named: Any) -> Any:
        values = [value for value in (*arguments, *named.values()) if isinstance(value, (str, int, list, tuple))]
        _check_text(name, values[0] if values else "", tuple(values[1:]))
        if name == "format" and isinstance(values[0], str):
            check_operation("%", values[0], None)
        return given(*arguments, **named)

    if hasattr(given, "jinja_pass_arg"):
        limited.jinja_pass_arg = given.jinja_pass_arg  # type: ignore[attr-defined]
    return limited


def _check_text(name: str, subject: Any, arguments: tuple[Any, ...]) -> None:
    if name == "replace" and len(arguments) >= 2 and isinstance(subject, str):
        old, new = str(arguments[0]), str(arguments[1])
        found = subject.count(old)
        characters(len(subject) + found * len(new))
    elif name == "join" and arguments:
        first, second = (subject, arguments[0]) if isinstance(arguments[0], str) else (arguments[0], subject)
        separator, joined = (second, first) if isinstance(second, str) else (first, second)
        if isinstance(joined, (list, tuple)) and isinstance(separator, str):
            characters(len(separator) * len(joined) + sum(len(item) for item in joined if isinstance(item, str)))
    for value in arguments:
        if isinstance(value, int):
            characters(abs(value))
