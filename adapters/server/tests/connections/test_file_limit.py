"""The limits on open files and on connections that follow from them."""

import resource
import subprocess
import sys

import pytest

from framegate.server.connections.file_limit import default_max_connections


def test_the_limit_is_raised_as_far_as_allowed() -> None:
    program = (
        "import resource; from framegate.server.connections.file_limit import raise_file_limit; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300)); "
        "print(raise_file_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["300", "300", "300"]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] != 300


@pytest.mark.parametrize(("files", "connections"), [(1024, 512), (65_536, 8192), (2**20, 8192), (1, 1)])
def test_half_of_the_files_are_for_connections(files: int, connections: int) -> None:
    assert default_max_connections(files) == connections
