# transformers has no types; mypy and pyright take what comes from it as Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
