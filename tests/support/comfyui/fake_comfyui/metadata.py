"""What the saving nodes write into their files."""

import json
from collections.abc import Mapping
from typing import Any


def as_text(prompt: Mapping[str, Any]) -> str:
    return json.dumps(prompt)
