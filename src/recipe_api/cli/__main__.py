"""Runs the command line as `python -m recipe_api.cli`, for environments without the script."""

import sys

from recipe_api.cli import main

sys.exit(main())
