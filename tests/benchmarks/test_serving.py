"""The benchmark runs; what it measures in so short a time says nothing."""

from pathlib import Path

import msgspec
import pytest

from tests.benchmarks import plot
from tests.benchmarks.serving.__main__ import SECTIONS, main
from tests.benchmarks.serving.results import Results


def test_every_section_gives_figures_for_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, page, drawing = tmp_path / "results.json", tmp_path / "page.md", tmp_path / "plot.svg"
    assert main(["--quick", "--output", str(output)]) == 0
    results = msgspec.json.decode(output.read_bytes(), type=Results)
    assert {figure.section for figure in results.figures} == set(SECTIONS)
    assert all(figure.value >= 0 for figure in results.figures)

    page.write_text(
        "# Before\n<!-- results of serving -->\nearlier figures\n<!-- end of results -->\nafter\n"
    )
    plot.main([str(output), "--page", str(page), "--plot", str(drawing)])
    text = page.read_text()
    assert capsys.readouterr().out.strip() in text
    assert "earlier figures" not in text
    assert (text.splitlines()[0], text.splitlines()[-1]) == ("# Before", "after")
    assert "<svg" in drawing.read_text()
