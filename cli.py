"""Runs the command line from a checkout: ``python cli.py …``."""

from framegate.cli.main import main

if __name__ == "__main__":
    main()
