"""The extra that the page and the metrics need."""

from __future__ import annotations

from joulemill.errors import InputError


def needed() -> None:
    """Raises InputError with the step to take where the extra is not installed."""
    try:
        import fastapi
        import prometheus_client
        import uvicorn
    except ImportError as fault:
        raise InputError(f"the page needs {fault.name}: pip install 'joulemill[monitor]'") from None
    del fastapi, prometheus_client, uvicorn
