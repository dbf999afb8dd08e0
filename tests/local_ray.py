"""A Ray of this machine for tests."""

from __future__ import annotations


def start(**options) -> None:
    """Starts one. Its node gives up where a helper process of its own takes more than 15 seconds to import, which on a
    busy machine it may: it is then begun again, twice at most.
    """
    import ray

    for attempt in range(3):
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="error", **options)
            return
        except Exception as error:
            ray.shutdown()
            if attempt == 2 or "timed out during startup" not in str(error):
                raise
