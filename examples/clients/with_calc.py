"""LibreOffice Calc, by way of CSV: what stands in the cells, as `with_calc.py FILE NEWER LANGUAGE` imports them.

LANGUAGE is that of the import dialog, by LibreOffice's number: 1033 is English (USA), 1031 German.
"""

import shutil
import subprocess
import sys
import tempfile
from decimal import Decimal
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import duckdb
from asked import FILE, answer

LANGUAGE = sys.argv[3]
_ENGLISH = "1033"
_OFFICE, _TABLE = (f"{{urn:oasis:names:tc:opendocument:xmlns:{name}:1.0}}" for name in ("office", "table"))
_HOME = tempfile.TemporaryDirectory(prefix="soundlink-calc-")
_PROFILE = f"-env:UserInstallation=file://{_HOME.name}"
# A campaign's name is free, so it may be one; ids of digits are those of other systems beside which the file is put.
_FORMULA, _DIGITS = "select '=1+1' as answer", "select '007' as answer"


def ask(sql: str, language: str = LANGUAGE, quoted: bool = False) -> object:
    """The value of the cell below the heading. `quoted`: texts are, and the box for quoted fields is ticked."""
    with tempfile.TemporaryDirectory(prefix="soundlink-calc-") as folder:
        csv = Path(folder) / "answer.csv"
        options = ", force_quote (answer)" if quoted else ""
        with duckdb.connect(FILE, read_only=True) as connection:
            (value,) = connection.execute(sql).fetchall()[0]
            # A second column, or a null would leave an empty line.
            connection.execute(f"copy (select answer, 1 from ({sql})) to '{csv}' (format csv, header{options})")
        # Fields by comma, texts in quotes, UTF-8, from line 1; then language, quoted fields are texts, dates are found.
        tokens = f"44,34,76,1,,{language},{str(quoted).lower()},true"
        command = ["soffice", _PROFILE, "--headless", f"--infilter=CSV:{tokens}", "--convert-to", "fods"]
        subprocess.run([*command, "--outdir", folder, str(csv)], capture_output=True, check=True, timeout=120)
        return _cell(csv.with_suffix(".fods"), value)


def _cell(sheet: Path, value: object) -> object:
    """What the cell holds, written as DuckDB's `value` is: Calc has one kind of number."""
    _, row, *_ = ElementTree.parse(sheet).iter(f"{_TABLE}table-row")
    cell = next(row.iter(f"{_TABLE}table-cell"))
    kind, text = cell.get(f"{_OFFICE}value-type"), "".join(cell.itertext()).strip()
    if kind == "date":
        return cell.get(f"{_OFFICE}date-value", "").replace("T", " ")
    if kind == "float":
        number = Decimal(cell.get(f"{_OFFICE}value", ""))
        return float(number) if isinstance(value, float) else number.quantize(_unit(value))
    return f"the text {text}" if isinstance(value, (int, float, Decimal)) else text or None


def _unit(value: object) -> Decimal:
    return Decimal(1).scaleb(int(value.as_tuple().exponent)) if isinstance(value, Decimal) else Decimal(1)


if shutil.which("soffice") is None:
    raise SystemExit("LibreOffice is missing: apt-get install libreoffice-calc")
answer(
    ask,
    **{
        "names like =1+1": partial(ask, _FORMULA),
        "such names, quoted": partial(ask, _FORMULA, quoted=True),
        "texts like 007": partial(ask, _DIGITS),
        "such texts, quoted": partial(ask, _DIGITS, quoted=True),
        "a money of three decimals": partial(ask, "select 1.234::decimal(18, 3) as answer"),
        "the same, as English": partial(ask, "select 1.234::decimal(18, 3) as answer", _ENGLISH),
    },
)
