"""What a worker has to have."""

import pytest

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.requirements import require


def test_what_is_missing_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(
        GenerationFailed, match=r"lacks no_such_module.*pip install 'framegate-wan22\[torch\]'"
    ):
        require("pip install 'framegate-wan22[torch]'", frozenset({"torch", "no_such_module"}))
