"""``python -m swaig_wsgi.cli``."""

import sys

from . import main

sys.exit(main())
