"""`python -m wellposed` is `wellposed`."""

import sys

from wellposed.cli import main


def run() -> None:
    sys.exit(main())


if __name__ == "__main__":
    run()
