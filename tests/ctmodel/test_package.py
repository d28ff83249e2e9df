"""The package opens at once, and its public names stay what they are."""

import subprocess
import sys

import pytest

import ctmodel

HEAVY = ("numpy", "scipy", "sklearn", "matplotlib", "tensorstore", "zarr", "keras", "tensorflow")


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_defaults_are_read_without_importing_anything_heavy():
    loaded = python("import ctmodel, sys; ctmodel.TrainSettings(), ctmodel.CTModelError; print(*sys.modules)").split()
    assert "ctmodel.settings" in loaded
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("name", ctmodel.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(ctmodel, name).__doc__
    assert name in dir(ctmodel)


def test_a_function_keeps_its_name_when_its_module_is_imported():
    found = python(
        "import ctmodel.training.train, ctmodel.prediction.evaluate, ctmodel\n"
        "from ctmodel.prediction.predict import Prediction\n"
        "print(*(callable(f) for f in (ctmodel.train, ctmodel.evaluate, ctmodel.predict)))"
    )
    assert found.split() == ["True"] * 3


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="attribute trian"):
        ctmodel.trian  # noqa: B018 - looking it up is what is tested


def test_without_tensorflow_the_way_to_install_it_is_said():
    found = python(
        "import sys; sys.modules['tensorflow'] = None\n"
        "import ctmodel\n"
        "try: ctmodel.train\n"
        "except ctmodel.CTModelError as error: print(isinstance(error, ImportError), error)"
    )
    assert found.startswith("True")
    assert "pip install '.[train]'" in found
