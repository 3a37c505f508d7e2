"""Hashes: of what must be equal for two model runs to be ranked together, and of what a decision rests on.

The hashed values themselves come from preparation.py and ranking.py.
"""

from __future__ import annotations

import secrets
from datetime import datetime

from bench_pipeline.domain.hashing import content_hash
from bench_pipeline.domain.measuring.scoreboard import Scoreboard
from bench_pipeline.domain.promoting.plan import evidence_hash
from bench_pipeline.domain.tasks.readers.contracts import Contract
from bench_pipeline.domain.tasks.verdict import READER_VERSION
from bench_pipeline.storage.benchmarks import BenchmarkRow


def evidence_key(
    *, task: str, suite_hash: str, prompt_hash: str, contract: Contract, protocol_hash: str, hardware: object
) -> str:
    """Return the SHA-256 of these terms and the current reader version."""
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


def hash_of_evidence(benchmark: BenchmarkRow, scoreboard: Scoreboard) -> str:
    """Hash what a decision rests on: the scoreboard and the terms of its measurement."""
    terms = {
        "suite": benchmark.suite_hash,
        "prompt": benchmark.prompt_hash,
        "protocol": benchmark.protocol_hash,
        "reader": benchmark.reader_version,
        "hardware": benchmark.hardware,
        "invalid": benchmark.invalid,
    }
    return evidence_hash(scoreboard.results, terms)


def new_benchmark_id(task: str, now: datetime) -> str:
    """Return an id with task and time, unique even for two benchmarks in the same second."""
    return f"{task}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
