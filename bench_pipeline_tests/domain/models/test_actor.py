"""What the runtime's account of a model says about taking part."""

from __future__ import annotations

import pytest

from bench_pipeline.domain.models.actor import Candidate, Exclusion, exclusion_by_identity
from bench_pipeline.domain.models.identity import ModelIdentity

LIMIT = 8_000_000_000


def excluded(account: dict[str, object]) -> tuple[Exclusion, str] | None:
    identity = ModelIdentity.model_validate({"name": "m:7b", "runtime": "ollama"} | account)
    return exclusion_by_identity(identity, LIMIT)


@pytest.mark.parametrize(
    "account",
    [
        pytest.param({}, id="nothing known"),
        pytest.param({"size_bytes": LIMIT}, id="exactly the limit"),
        pytest.param({"capabilities": ("completion",)}, id="completes"),
        pytest.param({"capabilities": ("completion", "embedding")}, id="completes and embeds"),
        pytest.param({"capabilities": ("completion", "vision", "tools")}, id="completes and sees"),
    ],
)
def test_a_model_that_completes_and_fits_takes_part(account: dict[str, object]) -> None:
    assert excluded(account) is None


@pytest.mark.parametrize(
    ("account", "reason", "detail"),
    [
        pytest.param({"remote": True}, Exclusion.REMOTE, "remote server", id="answers come from elsewhere"),
        pytest.param({"capabilities": ("embedding",)}, Exclusion.SPECIALIST, "embedding model", id="embeds only"),
        pytest.param({"size_bytes": LIMIT + 1}, Exclusion.TOO_LARGE, "8.0 GB, the limit is 8.0 GB", id="a byte more"),
        pytest.param(
            {"size_bytes": 42_520_413_916}, Exclusion.TOO_LARGE, "42.5 GB, the limit is 8.0 GB", id="far too large"
        ),
        pytest.param(
            {"remote": True, "capabilities": ("embedding",), "size_bytes": LIMIT * 9},
            Exclusion.REMOTE,
            "remote server",
            id="that texts would leave is said first",
        ),
        pytest.param(
            {"capabilities": ("embedding",), "size_bytes": LIMIT * 9},
            Exclusion.SPECIALIST,
            "embedding model",
            id="the kind is said before the size",
        ),
    ],
)
def test_a_model_is_excluded_with_its_reason(account: dict[str, object], reason: Exclusion, detail: str) -> None:
    answer = excluded(account)
    assert answer is not None
    assert answer[0] is reason
    assert detail in answer[1]


def test_a_candidate_is_eligible_unless_it_is_excluded() -> None:
    assert Candidate("m", 1, None).eligible
    assert not Candidate("m", 1, None, exclusion=Exclusion.DISABLED).eligible
