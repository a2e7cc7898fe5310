"""``python -m joulemill``."""

from joulemill.cli import main

raise SystemExit(main())
