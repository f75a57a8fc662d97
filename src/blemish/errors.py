"""Everything blemish raises on purpose.

BlemishError
├── DataError         a folder, an image or a mask is not what it must be
│   └── ImageError    one file could not be read as an image
├── ShapeError        two arrays that must fit each other do not
├── ConfigError       a setting is unknown or out of range
├── NotFittedError    a method was asked to score before it was fitted
├── ArtifactError     a part.blemish file is damaged, hostile or too new
├── WeightsError      pretrained weights are missing or not the expected ones
├── SynthError        no defect can be made on this image
├── ExportError       torch and the runtime do not agree, so nothing was written
└── MissingExtraError an optional part of blemish is not installed

Every message says which thing, what it must be, what it got and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class BlemishError(Exception):
    """Root of the tree: catch this one to catch them all."""


class DataError(BlemishError):
    """A folder, an image or a mask is not what it must be."""


class ImageError(DataError):
    """One file could not be read as an image."""


class ShapeError(BlemishError):
    """Two arrays that must fit each other do not."""


class ConfigError(BlemishError):
    """A setting is unknown or out of range."""


class NotFittedError(BlemishError):
    """A method was asked to score before it was fitted."""


class ArtifactError(BlemishError):
    """A part.blemish file is damaged, hostile or of a format this version does not read."""


class WeightsError(BlemishError):
    """Pretrained weights are missing or are not the expected ones."""


class SynthError(BlemishError):
    """No defect of this kind can be made on this image."""


class ExportError(BlemishError):
    """The exported graph does not reproduce the fitted method, so nothing was written."""


class MissingExtraError(BlemishError):
    """An optional part of blemish is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs packages that are not installed. Run: pip install 'blemish[{extra}]'"
        )


def about(error: Exception, file: Path) -> str:
    """The error's sentence, beginning with the file that it is about unless it names it already."""
    return str(error) if str(file) in str(error) else f"'{file}': {error}"


@contextmanager
def needs_extra(what: str, extra: str) -> Iterator[None]:
    """For imports that only an extra makes possible: raises MissingExtraError without it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] == "blemish":
            raise
        raise MissingExtraError(what, extra) from error
