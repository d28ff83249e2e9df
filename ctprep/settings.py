"""A setting: a dataclass field that carries its default, its help, its choices and its limits.

What shows or checks a setting reads it from there: the dataclass, its docstring and the command line.
"""

import inspect
import math
import operator
import re
import textwrap
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

KEY = "setting"
"""Where the metadata of a field has its `Setting`."""

KINDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}

Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known of a setting.

    Parameters
    ----------
    default : object
        Its type is the type of the setting, but for tuples and None, which the dataclass checks by itself.
    about : str
        Help: whole sentences for the user.
    choices : tuple of str
        The values it may have; any where there are none.
    minimum, maximum : float, optional
        The smallest and the largest value.
    exclusive : bool
        Whether the value must not be the minimum or the maximum itself.
    fixed : bool
        Whether the program decides it, so that no command has an option for it.
    beside : str
        What it may be beside the choices, as help says it, such as MODULE:FUNCTION: any text with a colon.
    """

    default: Any
    about: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    exclusive: bool = False
    fixed: bool = False
    beside: str = ""

    def accepts(self, value: Any) -> bool:
        """Tell whether a value is of the right type and within the limits."""
        if self.choices:
            return value in self.choices or bool(self.beside and isinstance(value, str) and ":" in value)
        kind = type(self.default)
        if kind not in (int, float):
            return kind not in KINDS or isinstance(value, kind)
        is_number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        is_outside = operator.le if self.exclusive else operator.lt
        return (
            is_number
            and (isinstance(value, int) or math.isfinite(value))  # isfinite fails for an int that no float can hold
            and not (self.minimum is not None and is_outside(value, self.minimum))
            and not (self.maximum is not None and is_outside(self.maximum, value))
        )

    @property
    def limits(self) -> str:
        """The limits in words, as in "above 0 and below 1"; empty where there are none."""
        low, high = ("above", "below") if self.exclusive else ("of at least", "at most")
        bounds = ((low, self.minimum), (high, self.maximum))
        return " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)

    @property
    def expected(self) -> str:
        """What a value must be, as an error says it."""
        if self.choices:
            return f"one of {', '.join(self.choices)}" + f", or {self.beside}" * bool(self.beside)
        return f"{KINDS[type(self.default)]} {self.limits}".rstrip()


def setting(default: Any, about: str, **known: Any) -> Any:
    """Return the dataclass field of a setting; `known` is what else a `Setting` holds.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Baking:
    ...     minutes: int = setting(40, "Time in the oven.", minimum=1)
    >>> Baking().minutes, settings_of(Baking)["minutes"].expected
    (40, 'a whole number of at least 1')
    """
    return field(default=default, metadata={KEY: Setting(default=default, about=about, **known)})


def settings_of(settings: type) -> dict[str, Setting]:
    """Return the settings of a dataclass by the names of their fields."""
    return {one.name: one.metadata[KEY] for one in fields(settings) if KEY in one.metadata}


def check_settings(settings: Any, error: type[Exception]) -> None:
    """Raise `error` for the first setting whose value is of another type or outside its limits."""
    for name, known in settings_of(type(settings)).items():
        value = getattr(settings, name)
        if not known.accepts(value):
            raise error(f"{name}: {value!r}, expected {known.expected}")


def documented(settings: type[Settings]) -> type[Settings]:
    """Add the section Parameters to the docstring of a dataclass: type, limits, default and help of each setting."""
    if settings.__doc__:  # python -OO has none
        annotations = {one.name: inspect.formatannotation(one.type) for one in fields(settings)}  # type: ignore[arg-type]
        entries = [_entry(name, annotations[name], known) for name, known in settings_of(settings).items()]
        section = "\n".join(["Parameters", "----------", *entries, "", ""])
        text = inspect.cleandoc(settings.__doc__)
        after = re.search(r"^(Raises|Examples)\n-+$", text, re.MULTILINE)
        place = after.start() if after else len(text)
        settings.__doc__ = f"{text[:place].rstrip()}\n\n{section}{text[place:]}".rstrip() + "\n"
    return settings


def _entry(name: str, annotation: str, known: Setting) -> str:
    kind = f"{{{', '.join(map(repr, known.choices))}}}" if known.choices else f"{annotation} {known.limits}".rstrip()
    about = textwrap.indent(textwrap.fill(known.about, 110), "    ")
    return f"{name} : {kind}, default {known.default!r}\n{about}"
