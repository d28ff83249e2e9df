"""Text for people: safe in a terminal whatever a file is called, and a small table for a notebook."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice

MAX_ROWS = 20
"""Rows of a table in a notebook; the rest is counted."""


def printable(text: str) -> str:
    r"""Return text as one line that is safe in a terminal: control characters are escaped.

    Examples
    --------
    >>> print(printable("evil\x1b[2J"))
    evil\x1b[2J
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]], notes: Iterable[str] = ()) -> str:
    """Return a table in HTML, with at most `MAX_ROWS` rows; everything in it is escaped.

    Parameters
    ----------
    title : str
        Stands above the table.
    header : sequence of str
        Names of the columns.
    rows : iterable of sequences
        One value for each column.
    notes : iterable of str
        Stand below the table.

    Examples
    --------
    >>> html_table("scans", ["class", "n"], [["<b>", 3]])  # doctest: +ELLIPSIS
    '<table><caption>scans</caption>...<tr><td>&lt;b&gt;</td><td>3</td></tr></table>'
    """
    remaining = iter(rows)
    shown = list(islice(remaining, MAX_ROWS))
    more = sum(1 for _ in remaining)
    below = [*([f"and {more:,} more"] if more else []), *notes]
    lines = "".join(_row("td", row) for row in shown)
    caption = f"<caption>{escape(printable(title))}</caption>"
    paragraphs = "".join(f"<p>{escape(printable(note))}</p>" for note in below)
    return f"<table>{caption}{_row('th', header)}{lines}</table>{paragraphs}"


def _row(cell: str, values: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{cell}>{escape(printable(str(value)))}</{cell}>' for value in values)}</tr>"
