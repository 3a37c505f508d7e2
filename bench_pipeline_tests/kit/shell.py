"""The `bench` command as a person types it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PLAIN_PROTOCOL = {"BENCH_RETRIES": "0", "BENCH_FINAL_PASSES": "0"}
"""One pass and nothing else, so that a test can count calls; retries and finals have tests of their own."""
Typed = Callable[..., subprocess.CompletedProcess[str]]
"""The command line in this process, as the fixture `typed` gives it."""
_BENCH = str(Path(sys.executable).with_name("bench"))


@dataclass(frozen=True)
class Shell:
    """The command in `folder`, with these settings and none of the tests' own environment."""

    folder: Path
    settings: dict[str, str]

    def bench(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [_BENCH, *arguments],
            cwd=self.folder,
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command and let it run; its lines can be read as they come."""
        return subprocess.Popen(
            [_BENCH, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def environment(self, **settings: str) -> dict[str, str]:
        """The environment of such a process."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "OLLAMA_"))}
        return {**kept, **self.settings, **settings}


def shell_in(folder: Path, url: str, ollama: str, promoter_url: str | None = None) -> Shell:
    return Shell(
        folder,
        PLAIN_PROTOCOL
        | {"BENCH_DATABASE_URL": url, "BENCH_OLLAMA_HOST": ollama, "BENCH_CACHE_DIR": str(folder / "cache")}
        | ({"BENCH_PROMOTER_URL": promoter_url} if promoter_url else {}),
    )
