"""Names of Dagster partitions: the model's name if Dagster accepts it, else a readable part with a hash."""

from __future__ import annotations

import hashlib
import re

_SAFE = re.compile(r"[\w./:@+\-() ]{1,200}")


def partition_key(model: str) -> str:
    """Return the partition key of `model`; two models never share one.

    Dagster treats `...` as a range and `|` as a second dimension, and fails on empty and very long keys.
    """
    if _SAFE.fullmatch(model) and "..." not in model and model == model.strip():
        return model
    readable = re.sub(r"\.{2,}", ".", re.sub(r"[^\w./:\-]+", "-", model, flags=re.ASCII))[:120].strip("-.")
    return f"{readable}~{hashlib.sha256(model.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
