# diffusers annotates itself in part, and wrongly: it hides its exports from type checkers and takes
# `tuple[int]` for tuples of any length. So what comes from it is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
