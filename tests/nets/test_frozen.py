"""Backbones: the weights' own package and timm as references; the exported graph; refusals."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet

from blemish.engines import open_engine
from blemish.errors import ConfigError, WeightsError
from blemish.nets.frozen import Frozen, _in_order, frozen_graph
from blemish.nets.pretrained import BACKBONES
from blemish.nets.weights import find_weights, read_state

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def weights() -> Path:
    return find_weights(LITE0, None)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def lite0(weights: Path, **kwargs: object) -> torch.nn.Module:
    net = timm.create_model(LITE0)
    net.load_state_dict(_in_order(net, read_state(weights)))
    if kwargs:
        state = net.state_dict()
        net = timm.create_model(LITE0, **kwargs)
        net.load_state_dict({name: state[name] for name in net.state_dict()})
    return net.eval()


# Multiples of 32: the package pads for one size, timm for the size at hand.
@pytest.mark.parametrize("size", [(64, 64), (224, 224), (96, 160)])
def test_lite0_agrees_to_the_bit_with_the_weights_own_package(
    weights: Path, size: tuple[int, int]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of that package, on its own age
        own = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights)).eval()
    image = noise(2, 3, *size) * 2 - 1
    with torch.no_grad():
        expected, found = own(image), lite0(weights)(image)
    assert expected.shape == (2, 1000)
    assert torch.equal(expected, found)


@pytest.mark.parametrize("taps", [(8, 16), (4,), (2, 4, 8, 16, 32)])
def test_features_are_timms(weights: Path, taps: tuple[int, ...]) -> None:
    image = noise(2, 3, 96, 64)
    frozen = Frozen(LITE0, taps, (96, 64), weights)
    all_strides = lite0(weights, features_only=True)
    known = BACKBONES[LITE0]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (known.mean, known.std))
    with torch.no_grad():
        found = frozen(image)
        expected = dict(zip((2, 4, 8, 16, 32), all_strides((image - mean) / std), strict=True))
    assert len(found) == len(taps)
    for tap, feature in zip(taps, found, strict=True):
        assert feature.shape[2:] == (96 // tap, 64 // tap)
        assert torch.equal(feature, expected[tap])


def test_a_frozen_net_is_never_trained(weights: Path) -> None:
    frozen = Frozen(LITE0, (8,), (64, 64), weights)
    assert not any(module.training for module in frozen.modules())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


@pytest.fixture(scope="module")
def graph(weights: Path) -> bytes:
    return frozen_graph(LITE0, (8, 16), (64, 64), weights)


@pytest.mark.parametrize("size", [(64, 64), (65, 131), (32, 200)])
def test_the_graph_of_a_cnn_takes_any_size(
    weights: Path, graph: bytes, size: tuple[int, int]
) -> None:
    engine = open_engine(graph)
    image = noise(1, 3, *size)
    expected = Frozen(LITE0, (8, 16), (64, 64), weights)(image)
    assert [output.name for output in engine.outputs] == ["tap_8", "tap_16"]
    for wanted, got in zip(expected, engine.run({"image": image.numpy()}), strict=True):
        assert np.abs(wanted.numpy() - got).max() <= 1e-3 * np.abs(wanted.numpy()).max()


def test_building_a_graph_leaves_the_global_generator_alone(weights: Path) -> None:
    before = torch.get_rng_state()
    first = frozen_graph(LITE0, (8,), (32, 32), weights)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert frozen_graph(LITE0, (8,), (32, 32), weights) == first


def test_an_unknown_stride_is_refused(weights: Path) -> None:
    with pytest.raises(ConfigError, match=r"strides \[2, 4, 8, 16, 32\].*\[5\]"):
        Frozen(LITE0, (5, 8), (64, 64), weights)


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18"])
def test_weights_of_another_network_are_refused(tmp_path: Path, backbone: str) -> None:
    file = tmp_path / "other.pth"
    torch.save(timm.create_model("resnet34").state_dict(), file)
    with pytest.raises(WeightsError, match=f"must fit '{backbone}' tensor by tensor"):
        Frozen(backbone, (8, 16), (64, 64), file)


def test_tensors_of_another_shape_are_refused(weights: Path, tmp_path: Path) -> None:
    state = read_state(weights)
    name = next(name for name in state if name.endswith("weight"))
    file = tmp_path / "cut.pth"
    torch.save({**state, name: state[name][:-1]}, file)
    with pytest.raises(WeightsError, match=r"must fit .* size mismatch"):
        Frozen(LITE0, (8, 16), (64, 64), file)


def test_timms_own_names_are_read_in_any_order(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    renamed = lite0(weights).state_dict()
    file = tmp_path / "lite0.safetensors"
    save_file(dict(reversed(renamed.items())), file)
    image = noise(1, 3, 64, 64)
    expected = Frozen(LITE0, (8, 16), (64, 64), weights)(image)
    found = Frozen(LITE0, (8, 16), (64, 64), file)(image)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised ViT-B/14 for 56 x 56 px, as its release would keep it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = timm.create_model("vit_base_patch14_reg4_dinov2", img_size=56, num_classes=0)
    file = tmp_path_factory.mktemp("vit") / "random.pth"
    torch.save(net.state_dict(), file)
    return file


@pytest.mark.slow
def test_taps_of_a_vit_are_its_blocks_after_the_last_norm(vit: Path) -> None:
    frozen = Frozen("vit_base_patch14_reg4_dinov2", (7, 11), (56, 84), vit)
    image = noise(1, 3, 56, 84)
    normal = (image - frozen.mean) / frozen.std
    kept: dict[int, torch.Tensor] = {}
    for block in (7, 11):
        frozen.net.blocks[block].register_forward_hook(
            lambda _module, _inputs, output, block=block: kept.update({block: output})
        )
    with torch.no_grad():
        last = frozen.net.forward_features(normal)
        found = frozen(image)
    assert torch.equal(frozen.net.norm(kept[11]), last)
    for tap, feature in zip((7, 11), found, strict=True):
        patches = frozen.net.norm(kept[tap])[:, 5:]  # one class token and four registers dropped
        assert feature.shape == (1, 768, 4, 6)
        assert torch.allclose(feature.flatten(2).mT, patches, atol=1e-6)


@pytest.mark.slow
def test_a_block_that_a_vit_lacks_is_refused(vit: Path) -> None:
    with pytest.raises(ConfigError, match=r"blocks 0 to 11, .*\[12\]"):
        Frozen("vit_base_patch14_reg4_dinov2", (7, 12), (56, 56), vit)
