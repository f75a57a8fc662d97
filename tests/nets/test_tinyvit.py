"""TinyViT-5M: its size, any image that fits, biases that are never stale, MobileSAM's names."""

from __future__ import annotations

import pytest
import torch

from blemish.nets.tinyvit import TinyViT, from_mobilesam
from sams import filled, mobilesam, mobilesam_shapes


@pytest.fixture(scope="module")
def net() -> TinyViT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyViT().eval()


def noise(*size: int) -> torch.Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))


def test_its_parameters_are_those_of_the_paper(net: TinyViT) -> None:
    assert sum(weight.numel() for weight in net.parameters()) == 5_743_892


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (48, 112), (240, 32)])
def test_every_size_that_fits_the_stride_works(net: TinyViT, size: tuple[int, int]) -> None:
    with torch.no_grad():
        seen = net(noise(*size))
    assert seen.shape == (1, 256, size[0] // 16, size[1] // 16)
    assert seen.isfinite().all()


def test_mobilesams_tensors_fit_one_by_one() -> None:
    state = mobilesam()
    net = TinyViT()
    net.load_state_dict(from_mobilesam(state))  # strict
    assert len(from_mobilesam(state)) == len(mobilesam_shapes()) - 4  # norm_head and head
    own = net.state_dict()
    for theirs, ours in {
        "patch_embed.seq.2.c.weight": "patch_embed.conv2.conv.weight",
        "layers.0.blocks.1.conv3.bn.running_var": "stages.0.blocks.1.conv3.bn.running_var",
        "layers.0.downsample.conv2.c.weight": "stages.1.downsample.conv2.conv.weight",
        "layers.2.downsample.conv1.bn.bias": "stages.3.downsample.conv1.bn.bias",
        "layers.2.blocks.5.attn.attention_biases": "stages.2.blocks.5.attn.attention_biases",
        "layers.3.blocks.0.local_conv.c.weight": "stages.3.blocks.0.local_conv.conv.weight",
        "neck.2.weight": "neck.2.weight",
    }.items():
        assert torch.equal(own[ours], state[f"image_encoder.{theirs}"])


def test_weights_loaded_after_eval_are_those_that_are_used(net: TinyViT) -> None:
    """timm keeps attention biases in eval mode; weights that come later must count all the same."""
    image = noise(64, 64)
    state = from_mobilesam(filled(mobilesam_shapes(), "image_encoder.", seed=3))
    expected, late = TinyViT(), TinyViT().eval()
    expected.load_state_dict(state)
    with torch.no_grad():
        before = late(image)  # biases are looked up
        late.load_state_dict(state)
        after = late(image)
        assert torch.equal(after, expected.eval()(image))
        assert not torch.equal(after, before)
        late.stages[2].blocks[0].attn.attention_biases += torch.randn(5, 196)
        assert not torch.equal(late(image), after)  # an optimiser's step in eval mode, too
