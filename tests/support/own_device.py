"""A device of the user's own, as a TOML file states it."""

from __future__ import annotations

OWN = 'name = "milan-1core"\nkind = "cpu"\nmemory = "64 GiB"\nmemory_bandwidth = "20 GB/s"\npeak_fp32 = "60 Gflop/s"\n'
