"""Which mask belongs to which image: by the name without its suffix."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from blemish.errors import DataError

_MASK = "_mask"


def pair_masks(
    image_folder: Path,
    images: Sequence[Path],
    mask_folder: Path,
    masks: Sequence[Path],
    *,
    ending: str = _MASK,
    every: bool = True,
    what: str = "mask",
) -> dict[Path, Path]:
    """Image → mask; `a/b.jpg` goes with `a/b_mask.png` or `a/b.png`, seen from the two folders.

    ending: what a mask's name has and its image's has not. every: each image must have a mask.
    what: says what the partner is if it is no mask; a point cloud, for example.

    Raises:
        DataError: an image without mask, a mask without image, or two masks for one image.
    """
    by_name = {_name(image.relative_to(image_folder)): image for image in images}
    paired: dict[Path, Path] = {}
    for mask in masks:
        name = _name(mask.relative_to(mask_folder))
        image = by_name.get(name) or by_name.get(name.removesuffix(ending))
        if image is None:
            raise _mask_without_image(mask, mask_folder, image_folder, ending, what)
        if image in paired:
            raise DataError(
                f"{image} must have one {what}, but it has two: {paired[image]} and {mask}. "
                "Remove one of them."
            )
        paired[image] = mask
    for image in images if every else ():
        if image not in paired:
            raise _image_without_mask(image, image_folder, mask_folder, ending, what)
    return paired


def refuse_masks_without_images(mask_folder: Path, masks: Sequence[Path], images: Path) -> None:
    """Pass if there are no masks, for a kind of defect that has no folder of images.

    Raises:
        DataError: there is one.
    """
    if masks:
        raise _mask_without_image(masks[0], mask_folder, images, _MASK, "mask")


def refuse_twins(images: Sequence[Path]) -> None:
    """Pass if no two images of one folder differ in their suffix only.

    They would share a mask and the names of all results, and are often the same picture twice.

    Raises:
        DataError: two do.
    """
    seen: dict[str, Path] = {}
    for image in images:
        twin = seen.setdefault(_name(image), image)
        if twin is not image:
            raise DataError(
                f"Two images of one folder must differ in more than their suffix, "
                f"but there are {twin} and {image}. Rename or remove one of them."
            )


def _name(path: Path) -> str:
    # One system writes "é" as one code point, another as two; a copied data set can mix both.
    return unicodedata.normalize("NFC", path.with_suffix("").as_posix())


def _mask_without_image(
    mask: Path, mask_folder: Path, image_folder: Path, ending: str, what: str
) -> DataError:
    stem = mask.stem.removesuffix(ending)
    expected = image_folder / mask.relative_to(mask_folder).with_name(stem)
    return DataError(
        f"{mask} must be the {what} of an image, but there is no image {expected}.* for it. "
        f"Add the image, or remove the {what}."
    )


def _image_without_mask(
    image: Path, image_folder: Path, mask_folder: Path, ending: str, what: str
) -> DataError:
    plain = mask_folder / image.relative_to(image_folder).with_name(f"{image.stem}.png")
    ended = plain.with_name(f"{image.stem}{ending}.png")
    other = (
        f"neither {ended} nor {plain.name}" if ending == _MASK else f"no {ended.with_suffix('')}.*"
    )
    way_out = f"remove {mask_folder} to work without masks of this kind"
    return DataError(
        f"{image} must have a {what} like the other images of its kind, but there is {other}. "
        f"Add the {what}, or {way_out if ending == _MASK else 'take the image away'}."
    )
