# transformers annotates itself in part, and hides some of its exports from type checkers. So what comes
# from it is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
