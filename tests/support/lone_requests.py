"""A steady run before which requests ran alone."""

from __future__ import annotations

from dataclasses import replace

from simulated.runs import steady_run


# --- gathered from records -----------------------------------------------------------------------------------------
def with_lone(tpot_s: float):  # type: ignore[no-untyped-def]
    record = steady_run()
    alone = [
        replace(
            record.requests[0],
            id=f"c{i}",
            phase="calibrate",
            first_token_mono_s=21.0 + i,
            last_token_mono_s=21.0 + i + 19 * tpot_s,
            end_mono_s=21.0 + i + 19 * tpot_s,
        )
        for i in range(3)
    ]
    return replace(record, requests=(*alone, *record.requests))
