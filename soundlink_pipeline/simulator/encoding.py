"""JSON the way the vendor writes it: compact, raw Unicode, money as decimals with their cents ("42.50").

The standard encoder can print neither a Decimal as a number nor a float with two places, hence this one.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any


def dumps(value: Any) -> str:
    return _ENCODERS[type(value)](value)


def ndjson(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """One row a line, every line ended by ``\\n``, no envelope."""
    return "".join([_object(row) + "\n" for row in rows]).encode()


def _object(value: Mapping[str, Any]) -> str:
    return "{" + ",".join([f'"{key}":{_ENCODERS[type(item)](item)}' for key, item in value.items()]) + "}"


def _array(value: list[Any] | tuple[Any, ...]) -> str:
    return "[" + ",".join([dumps(item) for item in value]) + "]"


_ENCODERS: dict[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: repr,
    float: repr,
    Decimal: str,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    dict: _object,
    list: _array,
    tuple: _array,
}
