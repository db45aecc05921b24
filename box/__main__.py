"""`python -m box` is `diting`."""

from box.cli import main

raise SystemExit(main())
