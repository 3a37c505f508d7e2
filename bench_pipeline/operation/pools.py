"""Dagster's pools: how many runs may measure at once. Which asset takes a slot is declared in assets/.

dagster.yaml can only give a default, and Dagster applies that from a pool's second run on.
"""

import dagster as dg

ACCELERATOR_POOL = "accelerator"
"""One benchmark at a time: two would distort each other."""


def set_limits(instance: dg.DagsterInstance) -> None:
    """Give each pool its limit. One that a person set is kept."""
    storage = instance.event_log_storage
    if ACCELERATOR_POOL not in {pool.name for pool in storage.get_pool_limits() if not pool.from_default}:
        storage.set_concurrency_slots(ACCELERATOR_POOL, 1)
