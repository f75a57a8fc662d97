"""Features of many images in a file for a while: what memory cannot hold is read where it lies."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.cache import cache_folder
from blemish.errors import DataError

Array = npt.NDArray[np.float32]


@contextmanager
def spooled(images: Iterable[Array]) -> Iterator[list[Array]]:
    """The (n, D) arrays of a sequence, mapped from a file beside the cache that is gone afterwards.

    Raises DataError if it cannot be written.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".points-", dir=folder) as beside:
            file, shapes = Path(beside) / "points.f32", []
            with file.open("wb") as out:  # written, not mapped: a full disk is then an error
                for image in images:
                    shapes.append(image.shape)
                    out.write(np.ascontiguousarray(image, np.float32).tobytes())
            empty = np.empty(0, np.float32)
            whole = np.memmap(file, np.float32, "r") if file.stat().st_size else empty
            ends = np.cumsum([rows * width for rows, width in shapes], dtype=np.intp)
            parts = np.split(whole, ends)[: len(shapes)]
            yield [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
            del whole, parts
    except OSError as error:
        raise DataError(
            f"'{folder}' must hold the features of all good parts for a while, but the system"
            f" says: {error.strerror}. Free some space, or set BLEMISH_CACHE to another folder."
        ) from error
