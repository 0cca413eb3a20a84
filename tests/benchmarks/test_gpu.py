"""The benchmark runs; what it measures on a CPU says nothing."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import torch

from framegate.core.plugins import load_object
from framegate.plugins.diffusers.backend import DiffusersBackend
from tests.benchmarks.gpu import environment
from tests.benchmarks.gpu.__main__ import PARTS, main
from tests.benchmarks.gpu.models import CASES, WHOLE
from tests.benchmarks.gpu.report import BASELINE, Report, Row, read, table
from tests.benchmarks.gpu.session import Session, Step
from tests.benchmarks.gpu.smoke import BACKENDS, JOBS
from tests.benchmarks.gpu.stacks import ATTENTION, computed_shares, median_where
from tests.benchmarks.gpu.targets import TARGETS
from tests.benchmarks.gpu.vae import DECODES
from tests.benchmarks.gpu.wheels import REPOSITORY, lacking
from tests.support.tiny_models import one_thread

__all__ = ["one_thread"]


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def session(tmp_path: Path, seconds: float = 60.0, output: Path | None = None) -> Session:
    report = Report({"torch": "2"}, output)
    return Session("stacks", report, torch.device("cpu"), tmp_path, seconds)


def test_a_row_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    def fail() -> dict[str, float]:
        raise RuntimeError("no room\nand a long story")

    run = session(tmp_path)
    run.run("a", [Step("first", fail), Step("second", lambda: {"s": 2.0, "chosen": "native"})])
    assert run.report.rows == [
        Row("stacks", "a", "first", "failed", note="RuntimeError: no room"),
        Row("stacks", "a", "second", values={"s": 2.0}, note="native"),
    ]


def test_without_the_model_its_rows_are_not_run(tmp_path: Path) -> None:
    def fail() -> dict[str, float]:
        raise RuntimeError

    run = session(tmp_path)
    run.run("a", [Step("build", fail, essential=True), Step("next", dict)])
    run.run("b", [Step("build", dict, essential=True), Step("next", dict)])
    assert [(row.group, row.name, row.status, row.note) for row in run.report.rows] == [
        ("a", "build", "failed", "RuntimeError"),
        ("a", "next", "not run", "build failed"),
        ("b", "build", "ok", ""),
        ("b", "next", "ok", ""),
    ]


def test_once_the_time_is_over_no_row_begins(tmp_path: Path) -> None:
    run = session(tmp_path, seconds=-1.0)
    run.run("a", [Step("first", lambda: {"s": 1.0}), Step("second", lambda: {"s": 1.0})])
    assert [row.status for row in run.report.rows] == ["not run", "not run"]
    assert run.report.rows[0].note == "no time left"


def test_each_row_is_printed_and_written_before_the_next_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results" / "run"

    def look() -> dict[str, float]:
        assert "first: 2 s" in capsys.readouterr().out
        assert len(read(output.with_suffix(".jsonl"))) == 2
        assert "| first | 2 |" in output.with_suffix(".md").read_text(encoding="utf-8")
        return {"s": 1.0}

    run = session(tmp_path, output=output)
    run.run("a", [Step("first", lambda: {"s": 2.0}), Step("second", look)])
    assert [row.status for row in run.report.rows] == ["ok", "ok"]


def test_a_run_continues_those_that_were_killed(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run = session(tmp_path, output=first)
    run.run("a", [Step("one", lambda: {"s": 1.0}), Step("two", lambda: {"s": 1.0})])
    lines = first.with_suffix(".jsonl")
    lines.write_bytes(lines.read_bytes()[:-10])
    report = Report({"torch": "3"}, second, [lines])
    report.add(Row("stacks", "a", "one", values={"s": 3.0}))
    assert report.rows == [Row("stacks", "a", "one", values={"s": 3.0})]
    text = second.with_suffix(".md").read_text(encoding="utf-8")
    assert "torch 2." in text
    assert "torch 3." in text


def test_a_table_compares_with_plain_diffusers() -> None:
    rows = [
        Row("stacks", "a", "build", values={"s": 9.0}),
        Row("stacks", "a", BASELINE, values={"s/step": 3.0, "peak GiB": 2.0}),
        Row("stacks", "a", "exact", values={"s/step": 1.5}, note="attention native"),
        Row("stacks", "a", "fp8", "failed", note="RuntimeError: no | room"),
    ]
    assert table(rows).splitlines() == [
        "| run | s | × | s/step | peak GiB | remarks |",
        "|---|--:|--:|--:|--:|---|",
        "| build | 9 | – | – | – | – |",
        "| plain diffusers | – | 1.00 | 3 | 2 | – |",
        "| exact | – | 2.00 | 1.5 | – | attention native |",
        "| fp8 | – | – | – | – | failed; RuntimeError: no \\| room |",
    ]


def test_steps_that_a_cache_saved_are_told_from_the_blocks_that_ran() -> None:
    assert computed_shares([8, 16, 18, 26, 28]) == [1.0, 1.0, 0.0, 1.0, 0.0]
    assert computed_shares([8, 13, 15, 20]) == [1.0, 0.5, 0.0, 0.5]
    assert computed_shares([8, 16, 24]) == [1.0, 1.0, 1.0]
    assert median_where(1.0, [1.0, 0.0, 1.0, 1.0], [9.0, 1.0, 2.0, 3.0]) == 3.0


def test_the_targets_are_computed_from_the_rows() -> None:
    def stack(name: str, seconds: float, model: str = "wan21") -> Row:
        return Row("stacks", model, name, values={"s/step": seconds})

    def decode(name: str, seconds: float) -> Row:
        return Row("vae", "wan22 1280×704×121", name, values={"s": seconds})

    rows = [
        stack(BASELINE, 6.0),
        stack("exact", 4.0),
        stack("exact, no guidance", 2.5),
        stack("exact, cache light", 3.0),
        stack("exact and fp8", 2.5),
        stack(BASELINE, 4.0, "ltx2"),
        stack("exact", 2.0, "ltx2"),
        decode(BASELINE, 7.0),
        decode("ours, bf16, contiguous", 6.0),
        decode("ours, bf16, channels_last", 5.0),
        decode("ours, fp32, channels_last", 1.0),
        Row("stacks", "ltx2-768", BASELINE, values={"s/step": 4.0}),
        Row("stacks", "ltx2-768", "exact", "failed"),
        Row("whole", "wan22", "exact", values={"rest %": 12.0}),
    ]
    found = {target.title: target.row(rows) for target in TARGETS}
    wan = "Wan2.1-14B 480p"
    assert {
        title: (row.values["measured"], row.note) for title, row in found.items() if row.status == "ok"
    } == {
        f"{wan}, exact: × a step": (1.5, "met"),
        f"{wan}, compile and fp8: × a step": (2.4, "met"),
        f"{wan}, exact, cache light: × a step": (2.0, "not met"),
        f"{wan}, 4 steps: × 50 guided ones": (30.0, "met"),
        "LTX-2 19B, 1024×576, 121 frames with audio, exact: × a step": (2.0, "met"),
        "TI2V-5B 1280×704×121: × the decode in bf16": (1.4, "met"),
        "Wan2.2-TI2V-5B, 1280×704, 121 frames, exact: % that is not denoising": (12.0, "not met"),
    }
    assert {row.note for row in found.values() if row.status != "ok"} == {"not measured"}
    whole = [
        Row("whole", "wan21", name, values={"video s": seconds, "s/step": step, "rest %": 5.0})
        for name, seconds, step in (
            (BASELINE, 310.0, 6.0),
            ("exact, no guidance", 31.0, 2.5),
            ("exact", 200.0, 3.0),
        )
    ]
    with_whole = {target.title: target.row([*rows, *whole]) for target in TARGETS}
    assert with_whole[f"{wan}, 4 steps: × 50 guided ones"].values["measured"] == 10.0
    assert with_whole[f"{wan}, exact: × a step"].values["measured"] == 2.0


def test_the_smoke_test_asks_for_options_that_there_are() -> None:
    for job in JOBS:
        backend: DiffusersBackend = load_object(BACKENDS[job.model])("", job.options)
        backend.parsed_options()


def test_without_time_every_row_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run"
    main(["--device", "cpu", "--seconds", "-1", "--output", str(output)])
    rows = [line for line in read(output.with_suffix(".jsonl")) if isinstance(line, Row)]
    assert {row.status for row in rows} == {"not run"}
    assert {row.note for row in rows} == {"no time left", "not measured"}
    printed = capsys.readouterr().out
    assert all(f"{row.name}: not run" in printed for row in rows)
    groups = {part: {row.group for row in rows if row.part == part} for part in PARTS}
    assert groups == {
        "smoke": set(BACKENDS),
        "vae": set(DECODES),
        "stacks": set(CASES),
        "whole": set(WHOLE),
        "targets": {""},
    }


@pytest.mark.usefixtures("one_thread")
def test_every_row_can_be_measured(tmp_path: Path) -> None:
    output = tmp_path / "run"
    parts = ["smoke:wan21_i2v", "smoke:ltx23", "vae:wan22", "stacks:ltx2", "whole:wan22", "targets"]
    main([*parts, "--device", "cpu", "--output", str(output)])
    rows = [line for line in read(output.with_suffix(".jsonl")) if isinstance(line, Row)]
    bad = [f"{row.part} {row.name}" for row in rows if row.status == "failed"]
    without_cuda = {"_native_flash"}  # PyTorch has it for the CPU, too
    assert bad == [f"stacks attention {name}" for name in ATTENTION if name not in without_cuda]
    values = {(row.part, row.group, row.name): row.values for row in rows if row.status == "ok"}
    seconds = [
        value
        for (part, _, _), each in values.items()
        for name, value in each.items()
        if name[0] == "s" and part != "stacks"  # the difference of two tiny stacks drowns in noise
    ]
    assert min(seconds) > 0
    assert values["stacks", "ltx2", "exact"].keys() == {"s/step", "s/layer", "first step s"}
    assert values["whole", "wan22", "exact"]["steps"] == 50
    measured = {row.name for row in rows if row.part == "targets" and row.status == "ok"}
    assert measured == {
        "LTX-2 19B, 1024×576, 121 frames with audio, exact: × a step",
        "TI2V-5B 1280×704×121: × the decode in bf16",
        "Wan2.2-TI2V-5B, 1280×704, 121 frames, exact: % that is not denoising",
    }
    text = output.with_suffix(".md").read_text(encoding="utf-8")
    assert re.search(r"^\| exact \|.*compile unused: the device is cpu", text, re.M)
    assert re.search(r"^\| exact and fp8 \|.*quantize unused: the device is cpu", text, re.M)


def test_the_wheels_are_what_the_machine_lacks() -> None:
    names = {name.partition("==")[0] for name in lacking(["pillow"])}
    assert {"diffusers", "msgspec", "structlog", "av", "torchao", "ftfy", "peft"} <= names
    assert not {"torch", "transformers", "numpy", "huggingface-hub", "tokenizers", "pillow"} & names
    constraints = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in constraints if ";" not in line)
    for name in lacking():
        package, _, pinned = name.partition("==")
        assert pins.get(package, pinned) == pinned


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (
            {
                "torch": "2.11.0+cu130",
                "transformers": "5.17.0",
                "diffusers": "0.42.1",
                "accelerate": "1.15.0",
            },
            [],
        ),
        (
            {"torch": "2.4.1", "diffusers": "0.42.1", "accelerate": "1.15.0"},
            [
                "torch 2.4.1 is too old; 2.11 or newer is needed.",
                "transformers is not installed; 5.17 or newer is needed.",
            ],
        ),
    ],
)
def test_a_machine_that_lacks_something_is_told_what(
    installed: dict[str, str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def versions(names: tuple[str, ...]) -> dict[str, str]:
        return installed

    monkeypatch.setattr(environment, "versions", versions)
    assert environment.problems() == expected
