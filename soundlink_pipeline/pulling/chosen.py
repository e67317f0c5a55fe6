"""Which campaigns or soundlinks a user means by an id or a name."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping

from soundlink_pipeline.contracts.subject import Subject

_SHOWN = 5
_ALIKE = 0.5

# By listed id, what one may be called: names, and the id that its rows bear.
Names = Mapping[str, Collection[str]]


class Unknown(Exception):
    """None has that id or name; the message lists those that come near."""


def chosen(subject: Subject, wanted: Iterable[str], names: Names) -> list[str]:
    """The listed ids of those of a subject that are wanted, each by an id or a name; of one name, all that bear it.

    Names are compared without regard to case. Raises Unknown.
    """
    found: dict[str, None] = {}
    for text in wanted:
        ids = [text] if text in names else [known for known, called in names.items() if _is_called(called, text)]
        if not ids:
            raise Unknown(
                f"no {subject.name} has the id or name {text!r}; {_near(text, names) or f'no {subject.name} is known'}"
            )
        found |= dict.fromkeys(ids)
    return list(found)


def _is_called(names: Collection[str], text: str) -> bool:
    return text.strip().casefold() in {name.strip().casefold() for name in names}


def _near(text: str, names: Names) -> str:
    if not names:
        return ""
    spelled = {name.casefold(): name for called in names.values() for name in called if name}
    spelled |= {known.casefold(): known for known in names if known.casefold() not in spelled}
    near = difflib.get_close_matches(text.casefold(), spelled, _SHOWN, _ALIKE)
    near += [low for low in spelled if text.casefold() in low and low not in near][: _SHOWN - len(near)]
    if near:
        return f"near it are {', '.join(repr(spelled[low]) for low in near)}"
    some = list(spelled.values())[:_SHOWN]
    return f"there are {', '.join(map(repr, some))}" + (f" and others of {len(names)}" if len(names) > _SHOWN else "")
