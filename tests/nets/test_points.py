"""Centres, groups and interpolation against SciPy; Point-MAE against its parts, one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from torch import Tensor, nn

from blemish.errors import ShapeError, WeightsError
from blemish.nets import points as room
from blemish.nets.points import (
    PointMae,
    farthest_points,
    groups,
    interpolate,
    neighbours,
    read_point_mae,
)


def drawn(count: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3))).float()


def net(seed: int = 0) -> PointMae:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = PointMae().eval()
        for module in made.modules():  # as after a training: not 0 and 1
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return made.requires_grad_(False)


@given(count=st.integers(1, 60), wanted=st.integers(1, 80), seed=st.integers(0, 999))
def test_each_centre_is_farthest_from_those_before(count: int, wanted: int, seed: int) -> None:
    points = drawn(count, seed)
    chosen = farthest_points(points, wanted)
    assert len(chosen) == wanted
    assert chosen[0] == 0
    wide = points.double().numpy()
    for turn in range(1, min(wanted, count)):
        before = wide[chosen[:turn]]
        far = np.linalg.norm(wide[:, None] - before[None], axis=2).min(1)
        assert far[chosen[turn]] == pytest.approx(far.max(), rel=1e-5)
    assert len(set(chosen[:count].tolist())) == min(count, wanted)
    assert chosen[count:].tolist() == [chosen[i % count] for i in range(max(0, wanted - count))]


def test_equal_points_are_all_taken_once() -> None:
    assert sorted(farthest_points(torch.zeros(5, 3), 5).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("chunk", [1, 4096])
def test_neighbours_are_scipys(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(room, "CHUNK", chunk)
    points, centres = drawn(300), drawn(40, 1)
    squares, places = neighbours(points, centres, 7)
    far, expected = cKDTree(points).query(centres, 7)
    assert np.array_equal(places, expected)
    assert np.allclose(squares, far**2, rtol=1e-4)


def test_few_points_come_again() -> None:
    squares, places = neighbours(torch.tensor([[0.0, 0, 0], [1, 0, 0]]), torch.zeros(1, 3), 5)
    assert places.tolist() == [[0, 1, 0, 1, 0]]
    assert squares.tolist() == [[0, 1, 0, 1, 0]]


def test_groups_are_relative_to_their_centres() -> None:
    points = drawn(200) + 50
    centres, grouped = groups(points, 16, 10)
    assert centres.shape == (16, 3)
    assert grouped.shape == (16, 10, 3)
    assert torch.equal(grouped[:, 0], torch.zeros(16, 3))  # the nearest is the centre itself
    back = grouped + centres[:, None]
    assert cKDTree(points).query(back.flatten(0, 1))[0].max() < 1e-4


def test_interpolation_is_exact_at_centres_and_between_elsewhere() -> None:
    centres = drawn(30)
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(interpolate(centres, centres, features), features, atol=1e-3)
    points = drawn(50, 2)
    far, places = cKDTree(centres).query(points, 3)
    weights = 1 / (far**2 + 1e-8)
    weights /= weights.sum(1, keepdims=True)
    expected = (weights[..., None] * features.numpy()[places]).sum(1)
    assert np.allclose(interpolate(points, centres, features), expected, atol=1e-4)
    one = interpolate(points, centres[:1], features[:1])
    assert torch.allclose(one, features[:1].expand(50, 4))


@pytest.mark.parametrize("wrong", [torch.zeros(0, 3), torch.zeros(4, 2), torch.zeros(4)])
def test_what_is_no_points_is_refused(wrong: Tensor) -> None:
    with pytest.raises(ShapeError, match=r"points must be \(N, 3\)"):
        farthest_points(wrong, 2)
    with pytest.raises(ShapeError, match=r"points must be \(N, 3\)"):
        neighbours(wrong, torch.zeros(1, 3), 2)


def test_names_and_shapes_are_the_published_ones() -> None:
    state = PointMae().state_dict()
    assert state["encoder.first_conv.0.weight"].shape == (128, 3, 1)
    assert state["encoder.first_conv.3.weight"].shape == (256, 128, 1)
    assert state["encoder.second_conv.0.weight"].shape == (512, 512, 1)
    assert state["encoder.second_conv.3.weight"].shape == (384, 512, 1)
    assert state["pos_embed.0.weight"].shape == (128, 3)
    assert state["pos_embed.2.weight"].shape == (384, 128)
    assert state["blocks.blocks.11.attn.qkv.weight"].shape == (1152, 384)
    assert "blocks.blocks.0.attn.qkv.bias" not in state
    assert state["blocks.blocks.0.mlp.fc1.weight"].shape == (1536, 384)
    assert state["norm.bias"].shape == (384,)
    sizes = sum(value.numel() for name, value in state.items() if "running" not in name)
    blocks = 12 * (2 * 768 + 384 * 1152 + 385 * 384 + 385 * 1536 + 1537 * 384)
    embed = 4 * 128 + 256 + 129 * 256 + 513 * 512 + 1024 + 513 * 384
    assert sizes - 2 == blocks + embed + 4 * 128 + 129 * 384 + 768  # but two counters of batches


def test_features_are_the_layers_one_after_the_other() -> None:
    """torch's own transformer layers with the same weights, and the embedding by hand."""
    mae = net()
    centres, grouped = groups(drawn(300), 20, 16)
    token = []
    for group in grouped:  # one by one: no group may know of another before the blocks
        each = mae.encoder.first_conv(group.T[None])[0]
        both = torch.cat([each.amax(1, keepdim=True).expand(-1, 16), each])
        token.append(mae.encoder.second_conv(both[None])[0].amax(1))
    tokens, place = torch.stack(token), mae.pos_embed(centres)
    taps = []
    for number, block in enumerate(mae.blocks.blocks):
        layer = nn.TransformerEncoderLayer(
            384, 6, 1536, dropout=0, activation="gelu", batch_first=True, norm_first=True
        ).eval()
        attention = block.attn
        layer.load_state_dict({
            "self_attn.in_proj_weight": attention.qkv.weight,
            "self_attn.in_proj_bias": torch.zeros(1152),
            "self_attn.out_proj.weight": attention.proj.weight,
            "self_attn.out_proj.bias": attention.proj.bias,
            "linear1.weight": block.mlp.fc1.weight, "linear1.bias": block.mlp.fc1.bias,
            "linear2.weight": block.mlp.fc2.weight, "linear2.bias": block.mlp.fc2.bias,
            "norm1.weight": block.norm1.weight, "norm1.bias": block.norm1.bias,
            "norm2.weight": block.norm2.weight, "norm2.bias": block.norm2.bias,
        })  # fmt: skip
        with torch.no_grad():
            tokens = layer((tokens + place)[None])[0]
        if number in (3, 7, 11):
            taps.append(mae.norm(tokens))
    found = mae(centres, grouped)
    assert found.shape == (20, 1152)
    assert torch.allclose(found, torch.cat(taps, 1), atol=1e-3)


def test_order_within_a_group_does_not_matter() -> None:
    mae = net()
    centres, grouped = groups(drawn(100), 8, 12)
    assert torch.allclose(mae(centres, grouped), mae(centres, grouped.flip(1)), atol=1e-5)


def test_published_files_and_bare_encoders_are_read(tmp_path: Path) -> None:
    mae = net(3)
    state = mae.state_dict()
    published = {f"module.MAE_encoder.{name}": value for name, value in state.items()}
    published["module.MAE_decoder.norm.weight"] = torch.zeros(384)
    torch.save({"base_model": published, "epoch": 300}, tmp_path / "pretrain.pth")
    torch.save(state, tmp_path / "bare.pth")
    centres, grouped = groups(drawn(60), 5, 8)
    before = torch.get_rng_state()
    for name in ("pretrain.pth", "bare.pth"):
        read = read_point_mae(tmp_path / name)
        assert not read.training
        assert not any(p.requires_grad for p in read.parameters())
        assert torch.equal(read(centres, grouped), mae(centres, grouped))
    assert torch.equal(torch.get_rng_state(), before)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"norm.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="Point-MAE's encoder tensor by tensor"):
        read_point_mae(tmp_path / "other.pth")
