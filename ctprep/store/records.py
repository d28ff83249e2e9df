"""The records of many scans as one table: 430 bytes a scan, however many there are."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Self, overload

import numpy as np

from ctprep.scans.scan import NOT_CROPPED, UNKNOWN, ScanRecord, nested_tuple
from ctprep.volume.intensity import HU_QUANTILES
from ctprep.volume.padding import PADDING_BELOW_HU
from ctprep.volume.recipe import Recipe

RECORD = np.dtype(
    [
        ("affine", "<f8", (4, 4)),
        ("source_affine", "<f8", (4, 4)),
        ("source_shape", "<i4", (3,)),
        ("source_sha256", "S64"),
        ("hu_quantile", "<f4", (len(HU_QUANTILES),)),
        ("nonfinite", "<i8"),
        ("padding", "<i8"),
        ("accepted", "S32"),
        ("stated_orientation", "S3"),
        ("lung_ml", "<f4", (2,)),
        ("crop_box", "<i4", (2, 3)),
    ]
)
"""A row of the table: the fields of `ScanRecord`, with the dtypes of the store."""


def columns_of(recipe: Recipe) -> tuple[str, ...]:
    """Return the fields that a store of a recipe holds; what no scan of it has is left out."""
    left_out = {"lung_ml": recipe.crop == "none" and not recipe.lung, "crop_box": recipe.crop == "none"}
    return tuple(name for name in RECORD.names or () if not left_out.get(name))


class Records(Sequence[ScanRecord]):
    """The records of a store's scans, in row order.

    Parameters
    ----------
    table : (scan,) array of dtype RECORD

    Examples
    --------
    >>> records = Records(np.zeros(2, RECORD))
    >>> len(records), records[1].source_shape, records.column("affine").shape
    (2, (0, 0, 0), (2, 4, 4))
    """

    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    @classmethod
    def of(cls, records: Iterable[ScanRecord]) -> Self:
        """Return single records as a table."""
        return cls(np.array([_row(record) for record in records], RECORD))

    @classmethod
    def from_columns(cls, n_scans: int, columns: dict[str, np.ndarray]) -> Self:
        """Return the table of the arrays of a store, by their names; what the store lacks, no scan of it has.

        Of a store without the array `padding`, a scan may have been prepared when padding was not counted: where its
        other numbers show that it may have some, that is `UNKNOWN`.
        """
        table = np.zeros(n_scans, RECORD)
        table["crop_box"] = NOT_CROPPED
        for name, column in columns.items():
            table[name] = column
        if "padding" not in columns:
            may_have = (table["nonfinite"] > 0) | (table["hu_quantile"][:, 0] < PADDING_BELOW_HU)
            table["padding"][may_have] = UNKNOWN
        return cls(table)

    def column(self, name: str) -> np.ndarray:
        """Return one field of every record; text as bytes."""
        return self.table[name]

    def text(self, name: str) -> Iterator[str]:
        """Yield one field of text of every record."""
        return (value.decode() for value in self.table[name].tolist())

    @property
    def source_sha256(self) -> Iterator[str]:
        """The digest of every source, one after the other."""
        return self.text("source_sha256")

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, row: int) -> ScanRecord: ...
    @overload
    def __getitem__(self, row: slice) -> Self: ...
    def __getitem__(self, row: int | slice) -> ScanRecord | Self:
        if isinstance(row, slice):
            return type(self)(self.table[row])
        return ScanRecord(**{name: _value(self.table[name][row]) for name in RECORD.names or ()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and self.table.tobytes() == other.table.tobytes()

    __hash__ = None  # type: ignore[assignment]


def _row(record: ScanRecord) -> tuple[Any, ...]:
    return tuple(getattr(record, field.name) for field in fields(record))


def _value(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else nested_tuple(value.tolist())
