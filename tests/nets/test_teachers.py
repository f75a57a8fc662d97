"""Teachers: SAM at its full size, what is kept of what they saw, and files that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from blemish.errors import WeightsError
from blemish.nets import teachers
from blemish.nets.teachers import SamTeacher, sam
from blemish.synth.stream import Picture
from sams import TinySam, mobilesam, tiny_sam

SIZE = (64, 64)


def picture(source: int, *, spoilt: bool, seed: int = 0) -> Picture:
    good = np.random.default_rng(source).random((1, 3, *SIZE), np.float32)
    altered, mask = good.copy(), np.zeros(SIZE, np.bool_)
    if spoilt:
        mask[8 + seed : 24] = True
        altered[:, :, mask] = 0
    return Picture(source=source, good=good, altered=altered, mask=mask)


class Counting(nn.Module):
    """Two taps, and how often they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.seen = 0

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.seen += 1
        return image * self.weight[0], 2 * image[:, :, ::2]


def taught(teacher: SamTeacher, *shown: Picture) -> Any:
    return teacher.taps(teacher.prepare(list(shown)))


def test_the_teacher_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        net = teachers.SamEncoder()
    assert sum(weight.numel() for weight in net.parameters()) == 637_026_048
    state = {f"image_encoder.{name}": value for name, value in net.net.state_dict().items()}
    assert teachers.from_vit(state).keys() == net.state_dict().keys()


@pytest.mark.parametrize("name", ["sam_vit_h", "mobile_sam"])
def test_a_whole_checkpoint_becomes_two_taps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "SamEncoder", TinySam)
    net = sam(name, tiny_sam() if name.startswith("sam_") else mobilesam())
    first, second = net(torch.rand(2, 3, 32, 64))
    assert first.shape == second.shape == (2, 256, 2, 4)
    assert not net.training
    assert not any(weight.requires_grad for weight in net.parameters())
    assert not first.requires_grad


@pytest.mark.parametrize("lost", ["image_encoder.neck.0.weight", "mask_decoder.iou_token.weight"])
def test_a_checkpoint_that_does_not_fit_is_refused(
    lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teachers, "SamEncoder", TinySam)
    state = tiny_sam()
    del state[lost]
    with pytest.raises(WeightsError, match=r"a whole checkpoint of 'sam_vit_h'"):
        sam("sam_vit_h", state)


def test_good_parts_are_seen_once_and_unspoilt_pictures_not_again() -> None:
    net = Counting()
    teacher = SamTeacher(net, fixed=True)
    spoilt, same = picture(3, spoilt=True), picture(5, spoilt=False)
    after, before = taught(teacher, spoilt, same)
    assert net.seen == 3  # both good parts, and one that was spoilt
    assert torch.equal(before[0], torch.from_numpy(np.concatenate([spoilt.good, same.good])))
    assert torch.equal(after[0], torch.from_numpy(np.concatenate([spoilt.altered, same.good])))
    assert torch.equal(after[1], 2 * after[0][:, :, ::2])
    assert not any(tap.requires_grad for tap in (*after, *before))
    again = taught(teacher, picture(5, spoilt=True, seed=1), picture(3, spoilt=False))
    assert net.seen == 4
    assert torch.equal(again[1][0], before[0].flip(0))


def test_turned_parts_are_seen_again() -> None:
    net = Counting()
    teacher = SamTeacher(net, fixed=False)
    for _ in range(3):
        taught(teacher, picture(3, spoilt=True))
    assert net.seen == 6
    assert teacher.good.kept == {}


def test_what_is_kept_is_bounded() -> None:
    one = 4 * 3 * 64 * 64 * 3 // 2  # bytes of both taps
    net = Counting()
    teacher = SamTeacher(net, fixed=True, room=2 * one)
    for source in (0, 1, 2, 0, 1, 2):
        taught(teacher, picture(source, spoilt=False))
    assert sorted(teacher.good.kept) == [0, 1]
    assert net.seen == 4
