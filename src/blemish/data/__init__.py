"""The door: from a path on disk to samples. Reads names only, no pixels, and never writes."""

from __future__ import annotations

import os
from pathlib import Path

from blemish.data.dataset import Dataset
from blemish.data.folders import read_folder
from blemish.data.listing import list_images, require_folder
from blemish.data.mvtec import is_mvtec, read_mvtec

__all__ = ["Dataset", "list_images", "open_data"]


def open_data(path: str | os.PathLike[str]) -> Dataset:
    """Read a folder of photographs in the layout it has: MVTec AD's, or plain folders.

    Raises:
        DataError: nothing is there, or it is not a data set; the message says what to do.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("good/1.png", "good/2.png", "scratch/1.png"):
    ...         file = Path(folder, name)
    ...         file.parent.mkdir(exist_ok=True)
    ...         file.touch()
    ...     data = open_data(folder)
    >>> data.layout, len(data.train), [sample.defect_type for sample in data.test]
    ('types', 2, ['good', 'good', 'scratch'])
    """
    root = Path(path)
    require_folder(root)
    return read_mvtec(root) if is_mvtec(root) else read_folder(root)
