"""``python -m X2BRLogic`` is the ``x2br`` command."""

import sys

from .cli import main

sys.exit(main())
