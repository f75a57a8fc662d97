"""Frozen teachers of pictures with made-up defects: what they see of the picture that is shown, and
of the same part before it was spoilt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import timm
import torch
from torch import Tensor, nn

from blemish.engines import Engine
from blemish.errors import WeightsError
from blemish.nets.sam_decoder import SamDecoder, from_sam
from blemish.nets.student import Taps
from blemish.nets.tinyvit import Normalised, TinyViT, from_mobilesam
from blemish.synth.stream import Picture
from blemish.train import Batch

ROOM = 4 * 2**30  # bytes; SAM sees 8.4 MB of a part at 1024 pixels


class Teacher(Protocol):
    """Two steps, as pictures are made ahead on other threads and SAM wants the device."""

    def prepare(self, pictures: list[Picture]) -> Batch:
        """What `taps` needs of the pictures, (B, …) each."""

    def taps(self, prepared: Batch) -> tuple[Taps, Taps]:
        """Of the pictures as they are shown, and of the parts before that, without gradients."""


class SamEncoder(nn.Module):
    """SAM's image encoder, ViT-H by timm: (B, 3, h, w) in [0, 1] → (B, 256, h / 16, w / 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalised()
        self.net: Any = timm.create_model("samvit_huge_patch16", num_classes=0)

    def forward(self, image: Tensor) -> Tensor:
        seen: Tensor = self.net.forward_features(self.normalise(image))
        return seen


class Sam(nn.Module):
    """An image encoder and the decoder after it: (B, 3, h, w) → two taps of 256 channels."""

    def __init__(self, encoder: nn.Module, decoder: SamDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, image: Tensor) -> Taps:
        taps: Taps = self.decoder(self.encoder(image))
        return taps


def sam(name: str, state: dict[str, Tensor]) -> Sam:
    """SAM or MobileSAM, frozen. name: "sam_vit_h" or "mobile_sam". state: of the whole checkpoint.

    Raises WeightsError if the tensors do not fit.
    """
    if name == "mobile_sam":
        encoder: nn.Module = TinyViT()
        load(encoder, from_mobilesam(state), name)
    else:
        encoder = SamEncoder()
        load(encoder, from_vit(state), name)
    decoder = SamDecoder()
    load(decoder, from_sam(state), name)
    return Sam(encoder, decoder).eval().requires_grad_(False)


def from_vit(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A SAM checkpoint's image encoder under SamEncoder's names; the rest is left out."""
    prefix = "image_encoder."
    return {
        "net." + name.removeprefix(prefix).replace("mlp.lin", "mlp.fc"): value
        for name, value in state.items()
        if name.startswith(prefix)
    }


def load(net: nn.Module, state: dict[str, Tensor], name: str) -> None:
    """Raises WeightsError unless the tensors are the net's, one by one."""
    try:
        net.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"the weights must be a whole checkpoint of '{name}', with image_encoder,"
            f" prompt_encoder and mask_decoder, but: {reason}. Get the usual file."
        ) from error


class Remembered:
    """What a teacher sees of good parts, in memory while there is room.

    look: (1, 3, h, w) → taps. fixed: whether a good part always looks the same, so that it need be
    looked at only once. room: bytes.
    """

    def __init__(self, look: Callable[[Tensor], list[Tensor]], *, fixed: bool, room: int) -> None:
        self.look, self.fixed, self.room = look, fixed, room
        self.kept: dict[int, list[Tensor]] = {}

    def __call__(self, image: Tensor, source: int) -> list[Tensor]:
        if source in self.kept:
            return [tap.to(image.device) for tap in self.kept[source]]
        taps = self.look(image)
        size = sum(tap.numel() * tap.element_size() for tap in taps)
        if self.fixed and (len(self.kept) + 1) * size <= self.room:
            self.kept[source] = [tap.cpu() for tap in taps]
        return taps


class SamTeacher:
    """Runs SAM where the training runs, picture by picture. fixed, room: as in Remembered."""

    def __init__(self, net: nn.Module, *, fixed: bool, room: int = ROOM) -> None:
        self.net = net
        self.good = Remembered(self._seen, fixed=fixed, room=room)

    def prepare(self, pictures: list[Picture]) -> Batch:
        good, altered = ([getattr(p, name) for p in pictures] for name in ("good", "altered"))
        return (
            torch.from_numpy(np.concatenate(altered)),
            torch.from_numpy(np.concatenate(good)),
            torch.tensor([p.source for p in pictures]),
            torch.tensor([bool(p.mask.any()) for p in pictures]),
        )

    def taps(self, prepared: Batch) -> tuple[Taps, Taps]:
        altered, good, sources, spoilt = prepared
        self.net.to(altered.device)
        with torch.no_grad():
            before = [
                self.good(image[None], source)
                for image, source in zip(good, sources.tolist(), strict=True)
            ]
            after = [
                self._seen(image[None]) if changed else clean  # half of them are as before
                for image, changed, clean in zip(altered, spoilt.tolist(), before, strict=True)
            ]
        return _stacked(after), _stacked(before)

    def _seen(self, image: Tensor) -> list[Tensor]:
        return list(self.net(image))


class FrozenTeacher:
    """Runs a frozen CNN's graph on the threads that make the pictures.

    The features on disk are no help: they are of photographs as they are, and pictures are of
    photographs that may have been shrunk or turned first. engine: of that graph. fixed, room: as in
    Remembered.
    """

    def __init__(self, engine: Engine, *, fixed: bool, room: int = ROOM) -> None:
        self.engine = engine
        self.good = Remembered(self._seen, fixed=fixed, room=room)

    def prepare(self, pictures: list[Picture]) -> Batch:
        before = [self.good(torch.from_numpy(one.good), one.source) for one in pictures]
        after = [
            self._seen(torch.from_numpy(one.altered)) if one.mask.any() else clean
            for one, clean in zip(pictures, before, strict=True)
        ]
        return (*_stacked(after), *_stacked(before))

    def taps(self, prepared: Batch) -> tuple[Taps, Taps]:
        half = len(prepared) // 2
        return prepared[:half], prepared[half:]

    def _seen(self, image: Tensor) -> list[Tensor]:
        taps = self.engine.run({self.engine.inputs[0].name: image.numpy()})
        return [torch.from_numpy(tap) for tap in taps]


def _stacked(pictures: list[list[Tensor]]) -> Taps:
    """Tap by tap: of each picture (1, C, h, w) → (B, C, h, w)."""
    return [torch.cat(tap) for tap in zip(*pictures, strict=True)]
