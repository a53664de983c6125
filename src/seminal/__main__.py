"""``python -m seminal`` is ``seminal``."""

import sys

from seminal.cli import main

if __name__ == "__main__":
    sys.exit(main())
