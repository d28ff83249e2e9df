"""Everything that decides the value of a stored voxel.

Two stores of the same scans and the same recipe hold the same bytes. This module imports nothing heavy, so that
the command line reads its defaults from here at once.
"""

import hashlib
import json
import math
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ctprep.errors import RecipeError
from ctprep.settings import check_settings, documented, setting

ARITHMETIC_VERSION = 2
"""Raised whenever the same input would give other voxels."""

VOXEL_BYTES = {"float16": 2, "float32": 4, "uint8": 1}

STORED_DTYPES = tuple(VOXEL_BYTES)

MAX_SIDE = 4096
"""Voxels along one axis of a stored volume; a larger number is a slip of the keyboard."""

MAX_VOLUME_BYTES = 2**31 - 1 - 16
"""What Blosc packs at once."""

CROPS = ("none", "lungs")

LUNGS_WINDOW = (-1000.0, 150.0)
"""HU that a window must hold for lungs to be found through it."""

BEFORE: dict[str, Any] = {"crop": "none", "lung": False}
"""What was done before a field was there, for each that version 0.1 did not write."""

STORED_SPACING_MM = (0.01, 100.0)


@documented
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a scan becomes a stored volume.

    Raises
    ------
    RecipeError
        If a value is impossible.

    Examples
    --------
    >>> Recipe().window
    (-1000.0, 400.0)
    >>> Recipe(shape=(32, 32, 16)) == Recipe.from_dict(Recipe(shape=(32, 32, 16)).to_dict())
    True
    """

    shape: tuple[int, int, int] = setting((64, 64, 32), "Size of a stored volume along x, y and z, in voxels.")
    window: tuple[float, float] = setting((-1000.0, 400.0), "Lower and upper HU bound; they become 0 and 1.")
    spacing_mm: tuple[float, float, float] | None = setting(
        None,
        "Size of a stored voxel along x, y and z, in mm: the scan is cropped or padded with air around its centre. "
        "Without it, the whole field of view is stretched to the shape.",
    )
    crop: str = setting(
        "none",
        "What is stored instead of the whole field of view: lungs is a box around both lungs with a margin of 10 mm. "
        "A scan whose lungs are not found is stored whole.",
        choices=CROPS,
    )
    lung: bool = setting(False, "Also store the share of lung in each voxel, as the array lung.")
    dtype: str = setting("float16", "Data type of a stored voxel.", choices=STORED_DTYPES)
    require_hu: bool = setting(True, "Reject scans whose values cannot be Hounsfield units.")
    arithmetic: int = setting(
        ARITHMETIC_VERSION,
        "Version of the arithmetic. A store of an older version is read, but no scan is prepared by it any more.",
        fixed=True,
    )

    def __post_init__(self) -> None:
        # -1000 and -1000.0 are the same bound, so they must give the same JSON and the same digest.
        object.__setattr__(self, "shape", _checked_shape(self.shape))
        object.__setattr__(self, "window", _checked_window(self.window))
        if self.spacing_mm is not None:
            object.__setattr__(self, "spacing_mm", _checked_spacing(self.spacing_mm))
        check_settings(self, RecipeError)
        if self.crop != "none" or self.lung:
            _check_shows_lungs(self.window)
        if (volume_bytes := math.prod(self.shape) * VOXEL_BYTES[self.dtype]) > MAX_VOLUME_BYTES:
            raise RecipeError(
                f"shape: {self.shape} of {self.dtype} makes volumes of {volume_bytes:,} bytes, "
                f"at most {MAX_VOLUME_BYTES:,} can be; choose fewer voxels"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON; those that say what was done before they were there are left out.

        So a recipe has the same description, and the same digest, in every version that knows it.
        """
        return {name: value for name, value in asdict(self).items() if not (name in BEFORE and value == BEFORE[name])}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Recipe":
        """Return the recipe that `to_dict` described, in this version or an older one.

        Raises
        ------
        RecipeError
            If a field is unknown, or one is missing that every version wrote.
        """
        names = {field.name for field in fields(cls)}
        if unknown := sorted(saved.keys() - names):
            raise RecipeError(
                f"recipe: {', '.join(unknown)} is unknown here; use the ctprep that wrote it, or a newer one"
            )
        if missing := sorted(names - saved.keys() - BEFORE.keys()):
            raise RecipeError(f"recipe: {', '.join(missing)} is missing; restore it, or convert the scans again")
        return cls(**{name: _frozen(value) for name, value in (BEFORE | saved).items()})

    def check_arithmetic(self) -> None:
        """Raise `RecipeError` where this version prepares scans in another way than the recipe asks for."""
        if self.arithmetic != ARITHMETIC_VERSION:
            raise RecipeError(
                f"recipe: asks for version {self.arithmetic} of the arithmetic, this is {ARITHMETIC_VERSION}; "
                "convert the scans again, or install the ctprep that made the store"
            )

    @property
    def digest(self) -> str:
        """The SHA-256 of the canonical JSON of `to_dict`, in hexadecimal."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def differences(recipe: Recipe, other: Recipe) -> list[str]:
    """Name the fields in which two recipes differ, as `name: value, not other value`.

    Examples
    --------
    >>> differences(Recipe(dtype="uint8"), Recipe())
    ["dtype: 'uint8', not 'float16'"]
    """
    return [
        f"{name}: {value!r}, not {getattr(other, name)!r}"
        for name, value in asdict(recipe).items()
        if value != getattr(other, name)
    ]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    try:
        checked = tuple(operator.index(n) for n in shape)
    except TypeError:
        checked = ()
    if len(checked) != 3 or not all(1 <= n <= MAX_SIDE for n in checked):
        raise RecipeError(f"shape: {shape} is not three whole numbers from 1 to {MAX_SIDE}, as in 64 64 32")
    return checked


def _numbers(values: Sequence[float]) -> tuple[float, ...]:
    """Return values as floats, -0.0 as 0.0; nothing where they are no numbers."""
    try:
        return tuple(float(value) + 0.0 for value in values)
    except (TypeError, ValueError):
        return ()


def _checked_window(window: Sequence[float]) -> tuple[float, ...]:
    checked = _numbers(window)
    if len(checked) != 2 or not all(map(math.isfinite, checked)) or not checked[0] < checked[1]:
        raise RecipeError(f"window: {window} is not a lower and a higher bound in HU, as in -1000 400")
    return checked


def _check_shows_lungs(window: Sequence[float]) -> None:
    lower, upper = LUNGS_WINDOW
    if not (window[0] <= lower and window[1] >= upper):
        raise RecipeError(
            f"window: {window} hides the lungs, which are found in {lower:g} to {upper:g} HU; "
            "choose a window that holds these, or neither --crop nor --lung"
        )


def _checked_spacing(spacing_mm: Sequence[float]) -> tuple[float, ...]:
    checked = _numbers(spacing_mm)
    least, most = STORED_SPACING_MM
    if len(checked) != 3 or not all(least <= mm <= most for mm in checked):
        raise RecipeError(f"spacing: {spacing_mm} is not three sizes from {least:g} to {most:g} mm, as in 5x5x5")
    return checked
