"""``python -m seminal.cli``."""

import sys

from seminal.cli import main

if __name__ == "__main__":
    sys.exit(main())
