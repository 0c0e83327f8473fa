"""`python -m recipe_api.cli`: the command line where its script is not on the path."""

import sys

from recipe_api.cli import main

sys.exit(main())
