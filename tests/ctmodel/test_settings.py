"""Settings refuse what cannot be used, and survive a trip through JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctmodel.errors import SettingsError
from ctmodel.settings import EvaluationSettings, Execution, TrainSettings, differences

settings = st.builds(
    TrainSettings,
    network=st.sampled_from(["compact", "founding", "lungs"]),
    epochs=st.integers(1, 10**6),
    learning_rate=st.floats(1e-9, 10),
    validation=st.floats(0.01, 0.49),
    test=st.floats(0.01, 0.49),
    seed=st.integers(0, 2**32 - 1),
    augment=st.sampled_from(["off", "light", "strong"]),
    flip=st.booleans(),
    interpolation=st.sampled_from(["nearest", "linear"]),
    xla=st.booleans(),
)


@given(settings)
def test_settings_survive_json(chosen):
    assert TrainSettings.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"epochs": 0}, "epochs: 0"),
        ({"epochs": 2.5}, "epochs: 2.5"),
        ({"epochs": True}, "epochs: True"),
        ({"batch_size": -1}, "batch_size: -1"),
        ({"learning_rate": float("nan")}, "learning_rate: nan"),
        ({"learning_rate": float("inf")}, "learning_rate: inf"),
        ({"validation": 0}, "validation: 0"),
        ({"validation": 0.5, "test": 0.5}, "0.5 \\+ 0.5"),
        ({"folds": 1}, "folds: 1"),
        ({"folds": 3, "fold": 4}, "fold: 4, expected 1 to 3"),
        ({"leave_out": "site"}, "leave_out: 'site', expected COLUMN=VALUE"),
        ({"leave_out": "site=A", "folds": 3}, "leave_out: chooses the test subset by itself"),
        ({"leave_out": "site=A", "group": "scanner"}, "leave_out: chooses the test subset by itself"),
        ({"split_seed": -2}, "split_seed: -2"),
        ({"seed": -1}, "seed: -1"),
        ({"seed": 2**32}, "seed: 4294967296"),
        ({"threshold": "best"}, "threshold: 'best', expected half, a probability such as 0.3, youden"),
        ({"threshold": 0.3}, "threshold: 0.3, expected text"),
        ({"class_weights": 1}, "class_weights: 1"),
        ({"interpolation": "cubic"}, "interpolation: 'cubic', expected one of nearest, linear"),
        ({"augment": "weak"}, "augment: 'weak', expected one of off, light, strong"),
    ],
)
def test_a_value_outside_its_limits_is_named(wrong, named):
    with pytest.raises(SettingsError, match=named):
        TrainSettings(**wrong)


@pytest.mark.parametrize("change", [{"color": "red"}, {"epochs": None}])
def test_saved_settings_of_another_version_are_refused(change):
    saved = {name: value for name, value in (TrainSettings().to_dict() | change).items() if value is not None}
    with pytest.raises(SettingsError, match=f"{next(iter(change))} .*; use that version, or train again"):
        TrainSettings.from_dict(saved)


def test_settings_of_version_0_1_mean_what_they_meant():
    saved = TrainSettings().to_dict()
    del saved["interpolation"], saved["calibrate"]
    assert TrainSettings.from_dict(saved) == TrainSettings(interpolation="linear", calibrate=False)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"threshold": "sensitivity=2"}, "threshold: 'sensitivity=2', expected half"),
        ({"prevalence": 0.0}, r"prevalence: 0.0, expected more than 0 and less than 1; 5 % is 0.05"),
        ({"prevalence": 5}, "prevalence: 5"),
        ({"ordered": 1}, "ordered: 1, expected true or false"),
    ],
)
def test_an_evaluation_outside_its_limits_is_named(wrong, named):
    with pytest.raises(SettingsError, match=named):
        EvaluationSettings(**wrong)


def test_differences_name_both_values():
    ours, theirs = TrainSettings(seed=2).to_dict(), TrainSettings(seed=1).to_dict()
    assert differences(ours, theirs) == ["seed: 1, now 2"]
    assert differences(ours, ours) == []


@pytest.mark.parametrize("seconds", [-1, float("nan"), "often"])
def test_a_checkpoint_comes_after_some_seconds(seconds):
    with pytest.raises(SettingsError, match=r"checkpoint_every: .*, expected a number of at least 0"):
        Execution(checkpoint_every=seconds)
