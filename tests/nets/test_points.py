"""Point-MAE against its parts, one by one; its graph against groups and interpolation by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from blemish.errors import WeightsError
from blemish.export import check_parity, to_onnx
from blemish.groups import groups_of
from blemish.nets.points import PointMae, Shapes, read_point_mae
from blemish.sensors import Scan


def drawn(count: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Centres and groups around them."""
    rng = np.random.default_rng(seed)
    centres, around = rng.normal(size=(count, 3)), rng.normal(size=(count, size, 3)) / 10
    return torch.from_numpy(centres).float(), torch.from_numpy(around).float()


def net(seed: int = 0) -> PointMae:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = PointMae().eval()
        for module in made.modules():  # as after a training: not 0 and 1
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return made.requires_grad_(False)


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
    centres, grouped = drawn(20, 16)
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
    centres, grouped = drawn(8, 12)
    assert torch.allclose(mae(centres, grouped), mae(centres, grouped.flip(1)), atol=1e-5)


def test_published_files_and_bare_encoders_are_read(tmp_path: Path) -> None:
    mae = net(3)
    state = mae.state_dict()
    published = {f"module.MAE_encoder.{name}": value for name, value in state.items()}
    published["module.MAE_decoder.norm.weight"] = torch.zeros(384)
    torch.save({"base_model": published, "epoch": 300}, tmp_path / "pretrain.pth")
    torch.save(state, tmp_path / "bare.pth")
    centres, grouped = drawn(5, 8)
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


def test_a_cell_is_the_mix_of_its_centres_features() -> None:
    mae = net()
    centres, grouped = drawn(6, 8)
    mix = torch.rand(9, 6, generator=torch.Generator().manual_seed(0))
    shape = Shapes(mae, 3)(centres, grouped, mix)
    assert shape.shape == (1, 1152, 3, 3)
    features = mae(centres, grouped)
    for cell in range(9):
        expected = sum((mix[cell, i] * features[i] for i in range(6)), torch.zeros(1152))
        assert torch.allclose(shape[0, :, cell // 3, cell % 3], expected, atol=1e-4)


def test_its_graph_is_the_network_and_a_missing_scan_is_0() -> None:
    shapes = Shapes(net(), 4).eval()
    feed = shapes.probe(torch.Generator().manual_seed(0))
    assert [tuple(one.shape) for one in feed.values()] == [(1024, 3), (1024, 128, 3), (16, 1024)]
    nothing = Scan(points=np.zeros((1, 1, 3), np.float32), seen=np.zeros((1, 1), np.bool_))
    empty = {name: torch.from_numpy(one) for name, one in groups_of(nothing, 4).items()}
    del empty["seen"]
    assert list(empty) == list(feed)
    graph = to_onnx(shapes, tuple(feed.values()), list(feed), ["shape"], {})
    check_parity(shapes, graph, feed)
    check_parity(shapes, graph, empty)
    assert torch.equal(shapes(*empty.values()), torch.zeros(1, 1152, 4, 4))
