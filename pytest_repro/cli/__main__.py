"""Lets ``python -m pytest_repro.cli`` run the command."""

import sys

from pytest_repro.cli import main

sys.exit(main())
