"""Cancel points."""

import pytest
import torch

from framegate.core.errors import JobCancelled
from framegate.plugins.diffusers.cancellation import CancelPoints, blocks_of

CPU = torch.device("cpu")


def test_cancel_points_stand_before_every_block() -> None:
    blocks = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))
    model = torch.nn.Sequential(torch.nn.ModuleDict({"blocks": blocks}), torch.nn.Linear(2, 2))
    assert len(blocks_of(model)) == 3
    points = CancelPoints(CPU)
    points.install(model)
    passed: list[int] = []

    def check() -> None:
        passed.append(1)
        if len(passed) == 2:
            raise JobCancelled

    def run() -> None:
        for block in blocks:
            block(torch.ones(2))

    with pytest.raises(JobCancelled), points.armed(check):
        run()
    assert len(passed) == 2, "the third block was not begun"
    run()
    assert len(passed) == 2, "nothing is left of the job"
