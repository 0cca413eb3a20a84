"""docs/models.md says what "auto" takes on which GPU."""

from pathlib import Path

from tests.support.memory_table import rows

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def test_the_table_is_what_would_be_planned() -> None:
    table = "\n".join(rows())
    assert table in PAGE.read_text(encoding="utf-8"), f"python -m tests.support.memory_table:\n{table}"
