"""The benchmark of the media path works."""

import json

import pytest

from tests.benchmarks.media import encoders, moving_frames, run_job


@pytest.mark.parametrize("kind", ["one shot", "shots with audio", "shots as files"])
def test_jobs_are_measured(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_job(kind, 5, (64, 48))
    found = json.loads(capsys.readouterr().out)
    assert found["peak_mib"] > 0
    assert found["frames_per_second"] > 0


def test_the_same_frames_are_encoded_by_each_way() -> None:
    assert "framegate" in encoders()
    assert {frame.shape for frame in moving_frames(64, 48, 40)} == {(48, 64, 3)}
