"""SAM's two-way transformer: its size, batches, where cells are, SAM's names."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from blemish.nets.sam_decoder import Attention, SamDecoder, encode, from_sam
from sams import decoder_state

FINAL = 132_224  # parameters of the last attention, which nothing here reads


def decoder(seed: int = 0) -> SamDecoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SamDecoder().eval()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_its_parameters_are_those_of_the_paper() -> None:
    net = decoder()
    count = {name: sum(w.numel() for w in part.parameters()) for name, part in net.named_children()}
    assert count["layers"] + FINAL == 3_291_264
    assert count["iou_token"] + count["mask_tokens"] == 1_280
    assert count["no_mask_embed"] == 256
    assert sum(count.values()) == 3_291_264 - FINAL + 1_280 + 256


def test_a_batch_is_a_loop_over_pictures() -> None:
    net, embedding = decoder(), noise(3, 256, 5, 7)
    with torch.no_grad():
        first, second = net(embedding)
        alone = [net(one[None]) for one in embedding]
    assert torch.equal(first, embedding)
    assert second.shape == embedding.shape
    for number, (same, seen) in enumerate(alone):
        assert torch.equal(same[0], embedding[number])
        assert (seen[0] - second[number]).abs().max() < 1e-5


def test_attention_is_torchs() -> None:
    own, theirs = Attention(256), nn.MultiheadAttention(256, 8, batch_first=True)
    with torch.no_grad():
        parts = (own.q_proj, own.k_proj, own.v_proj)
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.load_state_dict(own.out_proj.state_dict())
        q, k, v = noise(2, 5, 256), noise(2, 9, 256), 2 * noise(2, 9, 256)
        assert torch.allclose(own(q, k, v), theirs(q, k, v)[0], atol=1e-6)


@pytest.mark.parametrize("first", [0, 1])
def test_every_layer_matters(first: int) -> None:
    net, embedding = decoder(), noise(1, 256, 4, 4)
    before = net(embedding)[1]
    before.sum().backward()
    weights = dict(net.layers[first].named_parameters())
    silent = [name for name, one in weights.items() if one.grad is None]
    assert silent == []


def test_cells_are_told_by_sines_of_random_directions() -> None:
    gaussian, height, width = noise(2, 128), 3, 5
    found = encode(gaussian, height, width)
    assert found.shape == (1, 15, 256)
    for row, column in ((0, 0), (1, 3), (2, 4)):
        x, y = 2 * (column + 0.5) / width - 1, 2 * (row + 0.5) / height - 1
        angle = 2 * math.pi * (x * gaussian[0] + y * gaussian[1])
        expected = torch.cat([angle.sin(), angle.cos()])
        assert torch.allclose(found[0, row * width + column], expected, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encode(gaussian, height, width), found)


def test_directions_are_drawn_with_the_seed_and_kept_with_the_weights() -> None:
    first, same, other = decoder(0), decoder(0), decoder(1)
    assert torch.equal(first.gaussian, same.gaussian)
    assert not torch.equal(first.gaussian, other.gaussian)
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.gaussian, other.gaussian)


def test_sams_tensors_fit_one_by_one() -> None:
    state = decoder_state(5)
    net = decoder()
    net.load_state_dict(from_sam(state))  # strict
    own = net.state_dict()
    place = "mask_decoder.transformer.layers.1.cross_attn_image_to_token.k_proj.weight"
    assert torch.equal(own["layers.1.cross_attn_image_to_token.k_proj.weight"], state[place])
    place = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    assert torch.equal(own["gaussian"], state[place])
