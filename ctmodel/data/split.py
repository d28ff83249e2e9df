"""Which scans train, choose and test: division by patient, with every class in every subset.

A patient's place comes from a hash of the seed and the patient's name, so that adding scans moves few others.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ctmodel.errors import SplitError
from ctmodel.scoring.scores import SUBSETS

UNLABELLED = "unlabelled"

TAKEN_AS_GIVEN = "split: that of the store is used; --no-use-split divides the patients anew"
ANOTHER_SPLIT = "correct it and convert again, or divide the patients anew with --no-use-split"


@dataclass(frozen=True)
class Split:
    """The subset of every row of a store.

    Attributes
    ----------
    subsets : tuple of str
        One of `SUBSETS` for each row, or `UNLABELLED`.
    notes : tuple of str
        What was inferred.

    Examples
    --------
    >>> Split(("train", "test", "train")).rows("train").tolist()
    [0, 2]
    """

    subsets: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def rows(self, subset: str) -> np.ndarray:
        """Return the rows of a subset, in order, as an (n,) int64 array; raise `SplitError` if there is none such."""
        if subset not in SUBSETS:
            raise SplitError(f"subset: {subset!r}, expected one of {', '.join(SUBSETS)}")
        return np.flatnonzero(np.array(self.subsets) == subset)


def split_by_shares(
    labels: np.ndarray,
    patients: Sequence[str],
    *,
    classes: Sequence[str],
    validation: float,
    test: float,
    seed: int,
) -> Split:
    """Divide scans into train, validation and test by shares of each class's patients.

    Parameters
    ----------
    labels : (n,) int array
        Index into `classes` of each scan, -1 where it has none.
    patients : sequence of n str
        Whose scan it is.
    classes : sequence of str
        The names of the classes.
    validation, test : float
        Shares of the patients of each class, rounded, at least one patient.
    seed : int
        Decides which patients.

    Returns
    -------
    Split
        No patient in two subsets; every class in each.

    Raises
    ------
    SplitError
        If a class has too few patients for that.
    """

    def cut(n_patients: int) -> list[str]:
        n_test = _at_least_one(n_patients * test, most=n_patients - 2)
        # rounded together: a patient more moves each of the two boundaries by one at most
        n_validation = _at_least_one(n_patients * (test + validation) - n_test, most=n_patients - n_test - 1)
        n_train = n_patients - n_test - n_validation
        return ["test"] * n_test + ["validation"] * n_validation + ["train"] * n_train

    return _split(labels, patients, cut, classes=classes, fewest=len(SUBSETS), seed=seed)


def split_by_folds(
    labels: np.ndarray,
    patients: Sequence[str],
    *,
    classes: Sequence[str],
    folds: int,
    fold: int,
    validation: float,
    seed: int,
) -> Split:
    """Divide scans so that one of several folds is the test subset; over all folds every scan is tested once.

    Parameters
    ----------
    labels, patients, classes, seed
        As in `split_by_shares`.
    folds : int
        Number of folds, of nearly equal size.
    fold : int
        Which of them is the test subset, from 1.
    validation : float
        Share of each class's patients taken for validation out of the other folds.

    Returns
    -------
    Split
        No patient in two subsets; every class in each.

    Raises
    ------
    SplitError
        If a class has fewer patients than there are folds, or than the three subsets need.
    """

    def cut(n_patients: int) -> list[str]:
        start, stop = (-(-edge * n_patients // folds) for edge in (fold - 1, fold))
        n_validation = _at_least_one(n_patients * validation, most=n_patients - (stop - start) - 1)
        subsets = ["train"] * n_patients
        subsets[start:stop] = ["test"] * (stop - start)
        for place in range(stop, stop + n_validation):  # around the end: each fold has its own validation
            subsets[place % n_patients] = "validation"
        return subsets

    return _split(labels, patients, cut, classes=classes, fewest=max(folds, len(SUBSETS)), seed=seed)


def split_by_groups(
    labels: np.ndarray,
    patients: Sequence[str],
    groups: Sequence[str],
    *,
    classes: Sequence[str],
    shares: tuple[float, float],
    folds: int = 0,
    fold: int = 1,
    seed: int,
) -> Split:
    """Divide scans so that no group, such as a site, is in two subsets; by folds where there are any.

    Parameters
    ----------
    labels, patients, classes, seed
        As in `split_by_shares`.
    groups : sequence of n str
        The group of each scan; patients with scans in several of them are joined to one.
    shares : (validation, test)
        Shares of the patients of each class, met as well as whole groups allow.
    folds, fold : int
        As in `split_by_folds`, in place of the share of the test subset; 0 for none.

    Returns
    -------
    Split
        No patient and no group in two subsets; every class in each.

    Raises
    ------
    SplitError
        If a class is in too few groups for that.
    """
    _check_several(classes)
    # a scan without a label joins nothing
    joined = [group if label >= 0 else row for row, (group, label) in enumerate(zip(groups, labels, strict=True))]
    units = merge_patients(patients, joined)
    sizes = _patients_in_units(labels, patients, units, n_classes=len(classes))
    validation, test = shares
    for label, name in enumerate(classes):
        n_units, fewest = sum(size[label] > 0 for size in sizes.values()), max(folds, len(SUBSETS))
        if n_units < fewest:
            raise SplitError(
                f"class {name!r}: in {n_units} groups that share no patient, expected at least {fewest}, one for each "
                "subset or fold; ask for fewer folds, or divide by patient alone"
            )
    if folds:
        test = 1 / folds
        place_of = _fill_bins(sizes, [test] * folds, seed=seed)
        is_tested = {unit: place_of[unit] == fold - 1 for unit in sizes}
    else:
        is_tested = {unit: place == 0 for unit, place in _fill_bins(sizes, [test, 1 - test], seed=seed).items()}
    others = {unit: size for unit, size in sizes.items() if not is_tested[unit]}
    chosen = min(validation / (1 - test), 0.5)
    names = ("validation", "train")
    subset_of = {unit: names[place] for unit, place in _fill_bins(others, [chosen, 1 - chosen], seed=seed).items()}
    return _finished(labels, units, dict.fromkeys(sizes, "test") | subset_of, classes=classes)


def split_leaving_out(
    labels: np.ndarray,
    patients: Sequence[str],
    is_left_out: np.ndarray,
    *,
    classes: Sequence[str],
    validation: float,
    seed: int,
) -> Split:
    """Divide scans so that some, such as those of one site, are the test subset.

    Parameters
    ----------
    labels, patients, classes, seed
        As in `split_by_shares`.
    is_left_out : (n,) bool array
        Which scans these are.
    validation : float
        Share of each class's other patients taken for validation.

    Returns
    -------
    Split
        No patient in two subsets; every class in each.

    Raises
    ------
    SplitError
        If a patient has scans on both sides, or a class has too few patients on one.
    """
    rest = np.where(is_left_out, -1, labels)
    tested = {patients[row] for row in np.flatnonzero(is_left_out & (labels >= 0)).tolist()}
    for row in np.flatnonzero(rest >= 0).tolist():
        if patients[row] in tested:
            raise SplitError(
                f"{patients[row]}: has scans, or scans of equal volumes, that are left out and others that are not; "
                "keep both together with --group and --folds"
            )

    def cut(n_patients: int) -> list[str]:
        n_validation = _at_least_one(n_patients * validation, most=n_patients - 1)
        return ["validation"] * n_validation + ["train"] * (n_patients - n_validation)

    subset_of = _cut_classes(rest, patients, cut, classes=classes, fewest=2, seed=seed)
    return _finished(labels, patients, dict.fromkeys(tested, "test") | subset_of, classes=classes)


def _patients_in_units(
    labels: np.ndarray, patients: Sequence[str], units: Sequence[str], *, n_classes: int
) -> dict[str, np.ndarray]:
    """Return how many patients of each class are in each unit that has a labelled scan."""
    sizes: dict[str, np.ndarray] = {}
    labelled = {row for row in zip(units, patients, labels.tolist(), strict=True) if row[2] >= 0}
    for unit, _, label in labelled:
        sizes.setdefault(unit, np.zeros(n_classes, int))[label] += 1
    return sizes


def _fill_bins(sizes: dict[str, np.ndarray], shares: Sequence[float], *, seed: int) -> dict[str, int]:
    """Put each unit into a bin, the largest first, where most of its share of each class is missing.

    Equal sizes and equal bins are ordered by the seed. A unit goes to a bin that lacks a class, if there are no more
    units of the class than such bins.
    """
    total = np.maximum(sum(sizes.values()), 1)
    by_size = sorted(_in_hashed_order(list(sizes), seed), key=lambda unit: -float(np.sum(sizes[unit] / total)))
    wanted, filled = np.array(shares)[:, None], np.zeros((len(shares), len(total)))
    left, place_of = np.sum([size > 0 for size in sizes.values()], axis=0), {}
    for unit in by_size:
        added = sizes[unit] / total
        lacks = (filled == 0) & (added > 0) & (np.sum(filled == 0, axis=0) >= left)
        excess = np.sum((filled + added - wanted) ** 2 - (filled - wanted) ** 2, axis=1).round(12)
        place = min(range(len(shares)), key=lambda bin_: (-int(lacks[bin_].sum()), excess[bin_]))
        filled[place] += added
        left = left - (added > 0)
        place_of[unit] = place
    return place_of


def split_as_given(
    labels: np.ndarray,
    patients: Sequence[str],
    subsets: Sequence[str],
    *,
    classes: Sequence[str],
    validation: float,
    test: float,
    seed: int,
) -> Split:
    """Divide scans as the user's data are divided; a subset that they lack is taken from the training subset.

    Parameters
    ----------
    labels, patients, classes, seed
        As in `split_by_shares`.
    subsets : sequence of n str
        One of `SUBSETS` for each scan; empty where it is in none.
    validation, test : float
        Shares of the training patients of each class that become a subset that is not there.

    Returns
    -------
    Split

    Raises
    ------
    SplitError
        If a labelled scan is in no subset, a patient in two, or a class is missing in one.
    """
    subset_of = _subsets_of_patients(labels, patients, subsets)
    there, notes = set(subset_of.values()), [TAKEN_AS_GIVEN]
    for subset, share in (("test", test), ("validation", validation)):
        if subset not in there:
            notes.append(f"split: it has no {subset} subset; {share:.0%} of each class's training patients become one")
            rows = [
                row for row, patient in enumerate(patients) if subset_of.get(patient) == "train" and labels[row] >= 0
            ]
            names = [patients[row] for row in rows]
            for members in _patients_by_class(labels[rows], names, classes=classes, fewest=2):
                count = _at_least_one(len(members) * share, most=len(members) - 1)
                subset_of |= dict.fromkeys(_in_hashed_order(members, seed)[:count], subset)
    subsets = tuple(
        subset_of[patient] if label >= 0 else UNLABELLED for label, patient in zip(labels, patients, strict=True)
    )
    present = set(zip(labels.tolist(), subsets, strict=True))
    for label, name in enumerate(classes):
        for subset in SUBSETS:
            if (label, subset) not in present:
                raise SplitError(
                    f"class {name!r}: no scan in the {subset} subset of the store's split; {ANOTHER_SPLIT}"
                )
    return Split(subsets, tuple(notes))


def _subsets_of_patients(labels: np.ndarray, patients: Sequence[str], subsets: Sequence[str]) -> dict[str, str]:
    """Return the subset of each patient with a labelled scan."""
    subset_of: dict[str, str] = {}
    for label, patient, subset in zip(labels, patients, subsets, strict=True):
        if label < 0:
            continue
        if not subset:
            raise SplitError(
                f"split: a labelled scan of {patient} is in no subset of the store's split; {ANOTHER_SPLIT}"
            )
        if subset_of.setdefault(patient, subset) != subset:
            raise SplitError(
                f"split: {patient} has scans, or scans of equal volumes, in {subset_of[patient]} and in {subset}; "
                f"{ANOTHER_SPLIT}"
            )
    return subset_of


def merge_patients(patients: Sequence[str], volumes: Sequence[int | str]) -> tuple[str, ...]:
    """Give scans of equal volumes one patient, and so all scans of their patients.

    The same scan compressed and plain, or under two names, would else train a network that is tested on it.

    Parameters
    ----------
    patients : sequence of n str
        Whose scan it is said to be.
    volumes : sequence of n int or str
        A checksum of each scan's volume; where two differ in truth but not in their checksum, two patients are
        kept together without need. Or whatever else holds scans together.

    Returns
    -------
    tuple of n str
        One of the names of each group.

    Examples
    --------
    >>> merge_patients(("ann", "bob", "bob", "cy"), (1, 2, 1, 3))
    ('ann', 'ann', 'ann', 'cy')
    """
    other_name: dict[str, str] = {}

    def first_name(patient: str) -> str:
        while patient in other_name:
            patient = other_name[patient]
        return patient

    owner: dict[int | str, str] = {}
    for patient, volume in zip(patients, volumes, strict=True):
        one, other = sorted((first_name(patient), first_name(owner.setdefault(volume, patient))))
        if one != other:
            other_name[other] = one
    return tuple(map(first_name, patients))


def _at_least_one(wanted: float, *, most: int) -> int:
    """Round to one or more; to none where only patients with scans of several classes leave so few."""
    return max(0, min(max(1, round(wanted)), most))


def _split(
    labels: np.ndarray,
    patients: Sequence[str],
    cut: Callable[[int], list[str]],
    *,
    classes: Sequence[str],
    fewest: int,
    seed: int,
) -> Split:
    """Cut the patients of each class by themselves, and give every scan its patient's subset."""
    subset_of = _cut_classes(labels, patients, cut, classes=classes, fewest=fewest, seed=seed)
    return _finished(labels, patients, subset_of, classes=classes)


def _cut_classes(
    labels: np.ndarray,
    patients: Sequence[str],
    cut: Callable[[int], list[str]],
    *,
    classes: Sequence[str],
    fewest: int,
    seed: int,
) -> dict[str, str]:
    """Return the subset of each patient."""
    subset_of: dict[str, str] = {}
    for members in _patients_by_class(labels, patients, classes=classes, fewest=fewest):
        subset_of |= zip(_in_hashed_order(members, seed), cut(len(members)), strict=True)
    return subset_of


def _finished(
    labels: np.ndarray, patients: Sequence[str], subset_of: dict[str, str], *, classes: Sequence[str]
) -> Split:
    """Give every labelled scan its patient's subset; refuse what leaves a class out of one."""
    subsets = tuple(
        subset_of[patient] if label >= 0 else UNLABELLED for label, patient in zip(labels, patients, strict=True)
    )
    _check_every_class(labels, subsets, classes)
    return Split(subsets)


def _patients_by_class(
    labels: np.ndarray, patients: Sequence[str], *, classes: Sequence[str], fewest: int
) -> list[list[str]]:
    """Group the patients by class; one with scans of several classes belongs to the rarest of them."""
    labelled = {(patient, int(label)) for patient, label in zip(patients, labels, strict=True) if label >= 0}
    n_patients = Counter(label for _, label in labelled)
    for label, name in enumerate(classes):
        if n_patients[label] < fewest:
            raise SplitError(
                f"class {name!r}: {n_patients[label]} patients with a label, expected at least {fewest}, one "
                "for each subset or fold; add scans, ask for fewer folds, or leave the class out"
            )
    _check_several(classes)
    rarest: dict[str, int] = {}
    for patient, label in sorted(labelled, key=lambda pair: (n_patients[pair[1]], pair)):
        rarest.setdefault(patient, label)
    groups = [[patient for patient in rarest if rarest[patient] == label] for label in range(len(classes))]
    return [group for group in groups if group]


def _check_several(classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise SplitError(f"classes: {', '.join(classes) or 'none'}, expected two or more; label scans of another class")


def _in_hashed_order(patients: Sequence[str], seed: int) -> list[str]:
    def key(patient: str) -> bytes:
        return hashlib.blake2b(f"{seed}/{patient}".encode(), digest_size=16).digest()

    return sorted(patients, key=key)


def _check_every_class(labels: np.ndarray, subsets: Sequence[str], classes: Sequence[str]) -> None:
    """Refuse what patients with scans of several classes can still leave empty."""
    present = set(zip(labels.tolist(), subsets, strict=True))
    for label, name in enumerate(classes):
        for subset in SUBSETS:
            if (label, subset) not in present:
                raise SplitError(
                    f"class {name!r}: no scan in the {subset} subset, because its patients or groups have scans of "
                    "other classes too; try another seed, or add patients"
                )
