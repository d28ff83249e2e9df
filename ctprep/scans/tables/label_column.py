"""Where the labels are in a table that has no column of that name."""

import re
from collections.abc import Iterable, Sequence

from ctprep.errors import CatalogError
from ctprep.scans.tables.cells import Table, column_key, has_value, listed
from ctprep.scans.tables.values import MANY_CLASSES, is_flag_column

_LABEL = re.compile(
    "class(es)?|labels|targets?|diagnos[ie]s|category|grade|severity|outcome|findings?|group|status|y|gt|pathology|disease|result"
)


def flag_columns(columns: Sequence[str], members: Iterable[str] | None) -> tuple[str, ...]:
    """Return the columns that the classes name."""
    named = tuple(dict.fromkeys(members or ()))
    return named if named and set(named) <= set(columns) else ()


def missing_labels(table: Table, left: Sequence[str], *, folders_are_classes: bool) -> list[str]:
    """Say which column could be meant where none is called label, or ask if nothing else names the classes.

    Parameters
    ----------
    table : Table
    left : sequence of str
        The columns that say nothing else.
    folders_are_classes : bool

    Returns
    -------
    list of str
        What is to be said, where the folders name the classes.

    Raises
    ------
    CatalogError
        If they do not.
    """
    usual = [column for column in left if _LABEL.fullmatch(column_key(column))]
    flags = [column for column in left if is_flag_column([_or_blank(cell) for cell in table.column(column)])]
    few = [column for column in left if 1 < len(set(filter(has_value, table.column(column)))) <= MANY_CLASSES]
    if folders_are_classes:
        said = f"classes: the folders name them; {listed(usual)} of {table.name} could be meant, too: "
        return [f"{said}--label-column {usual[0]} takes that"] if usual else []
    if len(flags) > 1 and not usual:
        way = " ".join(f"--classes {column}={column}" for column in flags[:4])
        raise CatalogError(
            f"{table.name}: has no column 'label', but {listed(flags)} hold 1 and 0; if each is a class, name them, "
            f"the negative one first: {way}; or name the column with --label-column"
        )
    if candidates := usual or few or list(left):
        raise CatalogError(
            f"{table.name}: has no column 'label', only {', '.join(table.header)}; {listed(candidates)} could be "
            f"meant: name the one to use with --label-column, as in --label-column {candidates[0]}, or "
            "--label-column none"
        )
    if "participant_id" in table.header:
        raise CatalogError(
            f"{table.name}: has no column 'label', only {', '.join(table.header)}; give a table with the labels "
            "(--labels), or --label-column none"
        )
    return []


def _or_blank(cell: str) -> str:
    return cell if has_value(cell) else ""
