"""Results of checks: one warning per concern. The concerns themselves are in domain/promoting/concerns.py."""

from __future__ import annotations

import dagster as dg

from bench_pipeline.assets.metadata import words
from bench_pipeline.domain.promoting.concerns import Concern


def warned(name: str, concern: Concern | None, well: str) -> dg.AssetCheckResult:
    """Return a check that passes without a concern and says `well`, else warns with what, why and what to do."""
    if concern is None:
        return dg.AssetCheckResult(check_name=name, passed=True, description=well)
    return dg.AssetCheckResult(
        check_name=name,
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=words(str(concern)),
        metadata={"what": words(concern.what), "why_it_matters": concern.matters, "what_to_do": concern.remedy},
    )
