"""Every error is caught by one base, and by the builtin that a caller would expect."""

import inspect

import pytest

from ctmodel import errors
from ctprep.errors import CTPrepError

BASES = (CTPrepError, errors.CTModelError)
CHILDREN = [child for _, child in inspect.getmembers(errors, inspect.isclass) if child not in BASES]


@pytest.mark.parametrize("child", CHILDREN)
def test_every_error_has_the_one_base_and_says_what_it_means(child):
    assert issubclass(child, errors.CTModelError)
    assert child.__doc__


def test_one_base_catches_the_errors_of_both_packages():
    assert issubclass(errors.CTModelError, CTPrepError)


@pytest.mark.parametrize(
    ("child", "builtin"),
    [
        (errors.SettingsError, ValueError),
        (errors.RunExists, FileExistsError),
        (errors.RunMissing, FileNotFoundError),
        (errors.StoreMoved, FileNotFoundError),
        (errors.MissingTensorFlow, ImportError),
    ],
)
def test_an_error_is_also_the_builtin_that_a_caller_expects(child, builtin):
    assert issubclass(child, builtin)


def test_a_file_error_prints_its_message_alone():
    assert str(errors.RunExists("run: is there already")) == "run: is there already"
