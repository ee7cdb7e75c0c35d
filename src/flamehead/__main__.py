"""`python -m flamehead`."""

import sys

from flamehead.cli import main

sys.exit(main())
