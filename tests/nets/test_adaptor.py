"""Adaptors: where they begin, what the linear map does, and that the block is a transformer's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from torch import Tensor, nn

from blemish.nets.adaptor import Adaptor, differences

WIDTH, HEADS = 10, 4  # not a multiple


def drawn(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def made(width: int = WIDTH, heads: int = HEADS, *, still: bool = True) -> Adaptor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Adaptor(width, heads, still).eval()


def good(images: int = 6, patches: int = 40, jitter: float = 0.3) -> tuple[Tensor, Tensor]:
    """Patches around ten places, which differ from image to image along the first axis alone;
    a fifth was not seen."""
    places = 3 * drawn(10, WIDTH)
    which = torch.arange(patches) % 10
    patches_ = places[which][None].repeat(images, 1, 1) + 0.01 * drawn(images, patches, WIDTH)
    patches_[:, :, 0] += jitter * drawn(images, patches, seed=1)
    seen = torch.rand(images, patches, generator=torch.Generator().manual_seed(2)) > 0.2
    return patches_ * seen[..., None], seen


# where it begins


@pytest.mark.parametrize("ridge", [0.0, 0.1, 1.0])
def test_a_still_adaptor_begins_as_the_linear_map_alone(ridge: float) -> None:
    patches, seen = good()
    net = made()
    net.begin(patches, seen, ridge)
    with torch.no_grad():
        found = net(patches)
    torch.testing.assert_close(found, (patches - net.middle) @ net.map)


def test_an_adaptor_that_is_not_still_begins_elsewhere() -> None:
    patches, seen = good()
    net = made(still=False)
    net.begin(patches, seen, 0.0)
    with torch.no_grad():
        assert (net(patches) - (patches - net.middle) @ net.map).abs().max() > 0.01


def test_before_it_begins_the_map_is_nothing() -> None:
    patches = drawn(2, 5, WIDTH)
    with torch.no_grad():
        assert torch.equal(made()(patches), patches)


@settings(max_examples=20)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_without_a_ridge_it_is_a_centred_and_scaled_identity(scale: float, shift: float) -> None:
    patches, seen = good()
    net = made()
    net.begin(scale * patches + shift, seen, 0.0)
    assert torch.equal(net.map, torch.diag(net.map.diagonal()))
    assert len(set(net.map.diagonal().tolist())) == 1
    with torch.no_grad():
        inside = net(scale * patches + shift)[seen]
    assert inside.mean(0).abs().max() < 1e-3 * max(1.0, abs(shift / scale))
    assert float(inside.square().mean()) == pytest.approx(1, rel=1e-2)


# the closed form


@pytest.mark.parametrize("ridge", [0.01, 0.1, 1.0])
def test_directions_in_which_good_parts_differ_count_less(ridge: float) -> None:
    patches, seen = good()
    net, plain = made(), made()
    net.begin(patches, seen, ridge)
    plain.begin(patches, seen, 0.0)
    within = differences(patches, seen)
    before, after = within @ plain.map, within @ net.map
    share = [one[:, 0].square().mean() / one.square().mean(0).sum() for one in (before, after)]
    assert share[1] < share[0]
    axis = torch.linalg.vector_norm(net.map, dim=1)
    assert axis.argmin() == 0
    assert axis[0] < 0.6 * axis[1:].min()


def test_the_smaller_the_ridge_the_less_they_count() -> None:
    patches, seen = good()
    ratios = []
    for ridge in (10.0, 1.0, 0.1, 0.01):
        net = made()
        net.begin(patches, seen, ridge)
        axis = torch.linalg.vector_norm(net.map, dim=1)
        ratios.append(float(axis[0] / axis[1:].mean()))
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 0.6
    assert ratios[-1] < 0.15


def test_a_small_ridge_whitens_what_differs() -> None:
    patches, seen = good(jitter=0.02)
    net, plain = made(), made()
    net.begin(patches, seen, 1e-6)
    plain.begin(patches, seen, 0.0)
    apart = differences((patches - plain.middle) @ plain.map, seen)
    after = (apart @ torch.linalg.solve(plain.map, net.map)).double()
    lengths = torch.linalg.eigvalsh(after.T @ after)
    assert lengths[-1] / lengths[0] < 1.01


def test_the_map_is_the_root_of_the_inverse_scatter() -> None:
    patches, seen = good()
    net, plain = made(), made()
    net.begin(patches, seen, 0.5)
    plain.begin(patches, seen, 0.0)
    apart = (differences(patches, seen) @ plain.map).double().numpy()
    scatter = apart.T @ apart
    scatter *= WIDTH / np.trace(scatter)
    shrink = torch.linalg.solve(plain.map, net.map).double().numpy()
    expected = np.linalg.inv(scatter + 0.5 * np.eye(WIDTH))
    np.testing.assert_allclose(shrink @ shrink.T, expected, rtol=1e-3, atol=1e-4)


def test_differences_are_to_the_nearest_of_the_images_between() -> None:
    patches, seen = good()
    sides = [patches[start::2][seen[start::2]].numpy() for start in (0, 1)]
    expected = [
        mine - theirs[cKDTree(theirs).query(mine)[1]] for mine, theirs in (sides, sides[::-1])
    ]
    np.testing.assert_allclose(differences(patches, seen), np.concatenate(expected), atol=1e-5)


def test_what_was_not_seen_changes_nothing() -> None:
    patches, seen = good()
    wild = torch.where(seen[..., None], patches, torch.full_like(patches, 1e6))
    maps = []
    for given_ in (patches, wild):
        net = made()
        net.begin(given_, seen, 0.1)
        maps.append((net.map, net.middle))
    assert torch.equal(maps[0][0], maps[1][0])
    assert torch.equal(maps[0][1], maps[1][1])


@pytest.mark.parametrize("images", [1, 2, 3])
def test_few_or_equal_parts_give_finite_maps(images: int) -> None:
    for patches in (torch.ones(images, 4, WIDTH), drawn(images, 4, WIDTH)):
        seen = torch.ones(images, 4, dtype=torch.bool)
        for mask in (seen, seen & (torch.arange(images)[:, None] == 0)):
            net = made()
            net.begin(patches, mask, 0.1)
            with torch.no_grad():
                assert torch.isfinite(net(patches)).all()


# the block


def test_the_block_is_a_transformers() -> None:
    """torch's own encoder layer, given the same weights."""
    width, heads = 12, 4
    net = made(width, heads, still=False)
    layer = nn.TransformerEncoderLayer(
        width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
    ).eval()
    names = {
        "self_attn.in_proj_weight": net.qkv.weight,
        "self_attn.in_proj_bias": torch.zeros(3 * width),
        "self_attn.out_proj.weight": net.proj.weight,
        "self_attn.out_proj.bias": net.proj.bias,
    }
    for theirs, ours in (
        ("linear1", "fc1"),
        ("linear2", "fc2"),
        ("norm1", "norm1"),
        ("norm2",) * 2,
    ):
        names |= {f"{theirs}.{n}": v for n, v in getattr(net, ours).named_parameters()}
    layer.load_state_dict({name: value.detach() for name, value in names.items()})
    patches = drawn(2, 7, width)
    with torch.no_grad():
        torch.testing.assert_close(net(patches), layer(patches), atol=1e-5, rtol=1e-4)


def test_no_place_counts() -> None:
    net, patches = made(still=False), drawn(1, 9, WIDTH)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(net(patches)[:, order], net(patches[:, order]))


def test_the_map_is_no_weight() -> None:
    assert {"map", "middle"} <= {name for name, _ in made().named_buffers()}
    assert not {"map", "middle"} & {name for name, _ in made().named_parameters()}
