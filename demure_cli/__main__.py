"""`python -m demure_cli` is `demure`."""

import sys

from demure_cli.app import main

sys.exit(main())
