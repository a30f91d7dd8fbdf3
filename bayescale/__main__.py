"""Run the command line as `python -m bayescale`, for shells that do not find the script `bayescale`."""

import sys

from bayescale.cli import main

if __name__ == "__main__":
    sys.exit(main())
