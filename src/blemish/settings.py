"""Settings from words: what --set gives becomes the fields of a frozen dataclass."""

from __future__ import annotations

import difflib
import json
import math
import types
import typing
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from blemish.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

C = TypeVar("C", bound="DataclassInstance")


def require(holds: bool, name: str, must_be: str, got: object) -> None:
    """Raises ConfigError in the house's form unless the condition holds."""
    if not holds:
        raise ConfigError(f"{name} must be {must_be}, but is {got}. Change it with --set {name}=…")


def configure(preset: C, settings: dict[str, Any]) -> C:
    """The preset, a frozen dataclass, with some fields changed; strings are read as their field's
    type; of a tuple of fixed length 1,2 is one, and one number stands for all.

    Raises ConfigError on an unknown field, naming the nearest, and on a value of another type.
    """
    kinds = typing.get_type_hints(type(preset))
    for name in settings:
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"'{name}' must be a setting of {type(preset).__qualname__}: {sorted(kinds)}."
                f" Did you mean '{near}'?"
            )
    values = {name: _typed(name, value, kinds[name]) for name, value in settings.items()}
    return replace(preset, **values)


def _typed(name: str, value: Any, kind: Any) -> Any:
    if isinstance(value, str) and kind is not str:
        fixed = typing.get_origin(kind) is tuple and Ellipsis not in typing.get_args(kind)
        listed = fixed and not value.startswith("[")
        with suppress(ValueError):  # a plain word, such as a path
            value = json.loads(f"[{value}]" if listed else value)
    value = _fitted(_tuples(value), kind)
    if not _is_a(value, kind):
        shown = kind.__name__ if isinstance(kind, type) else str(kind)
        raise ConfigError(f"{name} must be of type {shown}, but is {value!r}.")
    return value


def _fitted(value: Any, kind: Any) -> Any:
    """Whole numbers where others are asked for, and one where several are."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is tuple and isinstance(value, tuple):
        if len(value) == 1 and Ellipsis not in inner:
            value *= len(inner)
        return tuple(float(v) if type(v) is int and float in inner else v for v in value)
    return float(value) if kind is float and type(value) is int else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def _is_a(value: Any, kind: Any) -> bool:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_is_a(value, option) for option in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = inner[:1] * len(value) if inner[-1:] == (Ellipsis,) else inner
        return len(kinds) == len(value) and all(map(_is_a, value, kinds))
    if kind is float:
        return type(value) is float and math.isfinite(value)
    return type(value) is (type(None) if kind is None else kind)
