"""What a user may decide about a phantom cohort, with the defaults; imports nothing heavy."""

from dataclasses import dataclass
from math import prod

from ctprep.errors import PhantomError
from ctprep.settings import check_settings, documented, setting

MIN_SHAPE = (16, 16, 8)  # voxels; below this no organ is more than a voxel or two wide
MAX_VOXELS = 2**28  # 512 x 512 x 1024; a typing error, not a chest, is larger
GRADES = ("CT-0", "CT-1", "CT-2", "CT-3", "CT-4")
GRADE_BOUNDS = (0.0, 0.25, 0.50, 0.75, 1.0)  # share of the lung; the grading of MosMedData


@dataclass(frozen=True)
class Difficulty:
    """How far the findings stand out from everything that varies anyway."""

    grade_shares: tuple[float, float, float, float]  # of the positive scans, CT-1 to CT-4
    least_severity: float  # share of the lung; lower end of CT-1
    contrast_hu: tuple[float, float]  # ground glass above normal lung
    core_share: float  # of the positive scans, those with a consolidated core
    lung_sd_hu: float  # of the normal lung, between patients
    mimic_share: float  # of all scans, for each kind of mimic
    noise_factor: float  # times the noise of the scanner


# The shares fall with the grade as MosMedData's do (80, 15, 5 and 0.2 per cent of its positive studies). The contrasts
# and spreads were tuned with tests/benchmarks/phantom_readers.py: what a histogram of the lung tells apart. Hard hides
# the findings from it behind a wide spread of normal lungs and mimics, the same in both classes, and never by making
# the rest of an ill lung lighter: what tells the classes apart is the findings' place and outline, and nothing else.
DIFFICULTIES = {
    "easy": Difficulty((0.60, 0.25, 0.11, 0.04), 0.10, (260.0, 380.0), 0.5, 12.0, 0.10, 0.6),
    "medium": Difficulty((0.70, 0.20, 0.08, 0.02), 0.07, (190.0, 300.0), 0.4, 25.0, 0.25, 1.0),
    "hard": Difficulty((0.85, 0.11, 0.03, 0.01), 0.03, (65.0, 110.0), 0.08, 60.0, 0.50, 1.4),
}


@documented
@dataclass(frozen=True)
class CohortSettings:
    """Everything that decides the scans of a cohort.

    Raises
    ------
    PhantomError
        If a value is outside its range.

    Examples
    --------
    >>> CohortSettings(scans=20).difficulty
    'medium'
    """

    scans: int = setting(120, "Number of scans; scan i is the same in a smaller and in a larger cohort.", minimum=1)
    seed: int = setting(0, "Random seed of everything that is drawn.", minimum=0)
    difficulty: str = setting("medium", "How clearly the findings stand out.", choices=tuple(DIFFICULTIES))
    shape: tuple[int, int, int] = setting(
        (128, 128, 40),
        "Columns, rows and slices of a typical scan, right to left, back to front and foot to head; the number of "
        "slices varies by scan.",
    )
    confound: float = setting(
        0.0, "Share of the scans whose scanner is chosen by their class: a planted shortcut.", minimum=0, maximum=1
    )

    def __post_init__(self) -> None:
        check_settings(self, PhantomError)
        large_enough = len(self.shape) == 3 and all(n >= least for n, least in zip(self.shape, MIN_SHAPE))
        if not large_enough or prod(self.shape) > MAX_VOXELS:
            raise PhantomError(
                f"shape: {tuple(self.shape)}, expected three sizes from {MIN_SHAPE} up to {MAX_VOXELS} voxels "
                "in all; a usual one is (128, 128, 40)"
            )

    @property
    def level(self) -> Difficulty:
        """The numbers behind the name of the difficulty."""
        return DIFFICULTIES[self.difficulty]
