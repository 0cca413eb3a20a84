"""``python -m framegate.cli`` is the ``framegate`` command."""

from framegate.cli.main import main

main()
