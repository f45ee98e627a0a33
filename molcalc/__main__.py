"""``python -m molcalc``: the command line."""

import sys

from molcalc.cli import main

sys.exit(main())
