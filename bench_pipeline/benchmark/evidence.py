"""What must be equal for two model runs to be ranked together, but for the model itself."""

from __future__ import annotations

import secrets
from datetime import datetime

from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.verdict import READER_VERSION, Contract


def evidence_key(
    *, task: str, suite_hash: str, prompt_hash: str, contract: Contract, protocol_hash: str, hardware: object
) -> str:
    """Return the SHA-256 over these terms and the version of the present reader."""
    return content_hash(
        {
            "task": task,
            "suite": suite_hash,
            "prompt": prompt_hash,
            "contract": contract.model_dump(mode="json"),
            "reader": READER_VERSION,
            "protocol": protocol_hash,
            "hardware": hardware,
        }
    )


def new_benchmark_id(task: str, now: datetime) -> str:
    """Return an id that tells task and time, and that two benchmarks of one second do not share."""
    return f"{task}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
