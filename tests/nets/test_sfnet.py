"""SFNet's decoder: the released size, the released half-cell mismatch, any size of picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import map_coordinates

from blemish.export import check_parity, to_onnx
from blemish.nets.sfnet import FlowAlign, SFNet, enlarge

Array = npt.NDArray[np.float64]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sfnet(channels: tuple[int, ...]) -> SFNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SFNet(channels).eval()


def test_on_resnet18_it_has_the_released_parameters() -> None:
    net = sfnet((64, 128, 256, 512))
    assert sum(parameter.numel() for parameter in net.parameters()) == 328_519


@pytest.mark.parametrize("size", [(4, 4), (3, 7), (1, 5), (1, 1)])
@pytest.mark.parametrize("flow", [(0.0, 0.0), (1.0, -0.5), (0.25, 9.0)])
def test_a_level_is_sampled_between_edges_with_coordinates_between_corners(
    size: tuple[int, int], flow: tuple[float, float]
) -> None:
    """Column c of w is read at (c + flow) w / (w - 1) - 1/2, outside of the level is 0."""
    h, w = size
    align = FlowAlign(3)
    torch.nn.init.zeros_(align.flow.weight)
    assert align.flow.bias is not None
    align.flow.bias.data.copy_(torch.tensor(flow))
    coarse = random(1, 3, h, w)
    with torch.no_grad():
        found = align(random(1, 3, 2 * h, 2 * w, seed=1), coarse)
    y = (np.arange(h) + flow[1]) * h / max(h - 1, 1) - 0.5
    x = (np.arange(w) + flow[0]) * w / max(w - 1, 1) - 0.5
    places = np.stack(np.meshgrid(y, x, indexing="ij"))
    for channel in range(3):
        plane = coarse[0, channel].double().numpy()
        expected = map_coordinates(plane, places, order=1, mode="grid-constant", cval=0)
        assert np.allclose(found[0, channel], expected, atol=1e-5)


def test_without_flow_a_level_still_moves_by_up_to_half_a_cell() -> None:
    align = FlowAlign(1)
    for parameter in align.parameters():
        torch.nn.init.zeros_(parameter)
    ramp = torch.arange(1.0, 10.0).expand(9, 9)[None, None].contiguous()
    with torch.no_grad():
        row = align(torch.zeros(1, 1, 9, 9), ramp)[0, 0, 4]
    assert row[4].item() == pytest.approx(5)  # the middle stays
    assert row[3].item() == pytest.approx(4 - 1 / 8)
    assert row[1].item() == pytest.approx(2 - 3 / 8)
    assert row[0].item() == pytest.approx(0.5)  # half a cell off: half of it is outside


def test_the_flow_is_seen_from_the_fine_level_in_coarse_cells() -> None:
    """x comes first: a flow that grows with the fine level's own feature moves columns."""
    align = FlowAlign(1)
    for parameter in align.parameters():
        torch.nn.init.zeros_(parameter)
    align.flow.weight.data[0, 0, 1, 1] = 1.0  # x flow = the fine level
    ramp = torch.arange(8.0).expand(8, 8)[None, None].contiguous()
    with torch.no_grad():
        still = align(torch.zeros(1, 1, 16, 16), ramp)[0, 0]
        moved = align(torch.full((1, 1, 16, 16), 1.0), ramp)[0, 0]
    assert torch.allclose(moved[2:6, 2:5] - still[2:6, 2:5], torch.full((4, 3), 8 / 7), atol=1e-5)


SIZES = [(64, 64), (37, 53), (33, 64)]


def levels(size: tuple[int, int], batch: int = 1) -> tuple[torch.Tensor, ...]:
    sides = [tuple(-(-side // stride) for side in size) for stride in (4, 8, 16, 32)]
    grids = zip((6, 8, 10, 12), sides, strict=True)
    return tuple(random(batch, c, h, w, seed=c) for c, (h, w) in grids)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_gives_one_logit_a_cell_of_the_finest(size: tuple[int, int]) -> None:
    net, taps = sfnet((6, 8, 10, 12)), levels(size, batch=3)
    with torch.no_grad():
        logits = net(*taps)
        alone = net(*(tap[1:2] for tap in taps))
    assert logits.shape == (3, 1, *taps[0].shape[2:])
    assert torch.isfinite(logits).all()
    assert torch.allclose(logits[1:2], alone, atol=1e-5)


@pytest.mark.parametrize("level", range(4))
def test_every_level_has_a_say(level: int) -> None:
    net, taps = sfnet((6, 8, 10, 12)), list(levels((64, 64)))
    with torch.no_grad():
        before = net(*taps)
        taps[level] = taps[level] + 1
        assert (net(*taps) - before).abs().max() > 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_the_exported_graph_agrees(size: tuple[int, int]) -> None:
    net, taps = sfnet((6, 8, 10, 12)), levels(size)
    for align in net.align:  # so that the flow is of some cells
        assert isinstance(align, FlowAlign)
        align.flow.weight.data *= 5
    names = ["a", "b", "c", "d"]
    graph = to_onnx(net, taps, names, ["logits"], {})
    check_parity(net, graph, dict(zip(names, levels(size), strict=True)))


def test_enlarging_is_bilinear_between_edges() -> None:
    grid = random(1, 1, 3, 4)
    y, x = ((np.arange(n) + 0.5) * m / n - 0.5 for n, m in ((7, 3), (9, 4)))
    places = np.stack(np.meshgrid(y, x, indexing="ij"))
    expected = map_coordinates(grid[0, 0].double().numpy(), places, order=1, mode="nearest")
    assert np.allclose(enlarge(grid, (7, 9))[0, 0], expected, atol=1e-5)
