"""The backend as it is discovered."""

import subprocess
import sys


def test_listing_plugins_imports_no_heavy_library() -> None:
    program = (
        "import sys, framegate.plugins.preview, framegate.plugins.preview.backend\n"
        "sys.exit(bool({'numpy', 'PIL', 'av'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
