"""A setting is checked and shown by what its field says of it, wherever that is."""

from dataclasses import MISSING, dataclass, fields

import numpy as np
import pytest

from ctmodel.settings import Execution, TrainSettings
from ctprep.phantom.settings import CohortSettings
from ctprep.settings import check_settings, documented, setting, settings_of
from ctprep.volume.recipe import Recipe


class WrongError(ValueError):
    """What the settings of these tests raise."""


@documented
@dataclass(frozen=True, kw_only=True)
class Baking:
    """How a cake is baked.

    Raises
    ------
    WrongError
        If a value is outside its limits.
    """

    minutes: int = setting(40, "Time in the oven.", minimum=1, maximum=90)
    share: float = setting(0.5, "Share of sugar.", minimum=0, maximum=1, exclusive=True)
    heat: float = setting(180.0, "Degrees.", minimum=0)
    form: str = setting("round", "Form of the tin.", choices=("round", "square"))
    name: str = setting("cake", "What it is called.")
    fan: bool = setting(False, "Circulate the air.")
    tins: tuple[int, int] = setting((1, 2), "Checked elsewhere.")

    def __post_init__(self) -> None:
        check_settings(self, WrongError)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("minutes", [1, 90]),
        ("share", [0.001, 0.999]),
        ("heat", [0, 0.0, 1e9]),
        ("form", ["square"]),
        ("name", [""]),
        ("fan", [True]),
        ("tins", [(3, 4)]),
    ],
)
def test_values_within_the_limits_are_accepted(name, values):
    for value in values:
        assert getattr(Baking(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("minutes", [0, 91, 10**400, 5.0, True, "5", None], "a whole number of at least 1 and at most 90"),
        ("share", [0, 1, -1, float("nan"), False], "a number above 0 and below 1"),
        ("heat", [-0.1, float("inf"), float("nan"), "hot"], "a number of at least 0"),
        ("form", ["oval", None, 1], "one of round, square"),
        ("name", [1, None], "text"),
        ("fan", [1, 0, "yes", np.True_], "true or false"),
    ],
)
def test_other_values_are_refused_with_what_is_expected(name, values, expected):
    for value in values:
        with pytest.raises(WrongError) as refused:
            Baking(**{name: value})
        assert str(refused.value) == f"{name}: {value!r}, expected {expected}"


def test_the_docstring_describes_every_setting_before_the_errors():
    said = Baking.__doc__
    assert "minutes : int of at least 1 and at most 90, default 40\n    Time in the oven.\n" in said
    assert "form : {'round', 'square'}, default 'round'\n    Form of the tin.\n" in said
    assert said.index("Parameters\n----------\n") < said.index("tins : ") < said.index("Raises\n------\n")


@pytest.mark.parametrize("settings", [Recipe, CohortSettings, TrainSettings, Execution])
def test_every_field_of_the_settings_says_what_it_is(settings):
    known = settings_of(settings)
    assert list(known) == [one.name for one in fields(settings)]
    for one in fields(settings):
        assert one.default is not MISSING
        assert known[one.name].about.endswith(".")
        assert f"{one.name} : " in settings.__doc__
    settings()
