"""`make up` and `make down`: the rehearsal for a person, over the demo's sample database, in .rehearsal/."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing

from bench_pipeline.demo.sample_database import make_sample_database
from bench_pipeline.domain.errors import InputError
from bench_pipeline.settings import load_settings
from bench_pipeline.storage.database import without_tables
from bench_pipeline_tests.kit.rehearsal import OPERATOR, VIEWER, Rehearsal
from bench_pipeline_tests.kit.rehearsal.shipped import ROOT

FOLDER = ROOT / ".rehearsal"


def fill(url: str) -> None:
    """Make the sample database."""
    with closing(without_tables(url, "BENCH_OWNER_URL", None)) as database:
        make_sample_database(database, load_settings())


def variables() -> dict[str, str]:
    """What the caller has set of the program, and where the demo keeps its weights."""
    own = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("BENCH_", "OLLAMA_")) and not name.endswith("_URL")  # the databases are the rehearsal's
    }
    return {"BENCH_FINAL_PASSES": "20", "BENCH_CACHE_DIR": str(load_settings().cache_dir), **own}


def main() -> int:
    """Start it or stop it, and print where it is."""
    parser = argparse.ArgumentParser(prog="rehearsal", description=__doc__)
    parser.add_argument("command", choices=["up", "down"])
    parser.add_argument("--port", type=int, help="where nginx listens")
    given = parser.parse_args()
    rehearsal = Rehearsal(FOLDER, fill, variables(), given.port)
    if given.command == "down":
        rehearsal.down()
        print("stopped; the databases stay in .rehearsal/")
        return 0
    print("starting; this takes half a minute", flush=True)
    try:
        rehearsal.up()
    except InputError as error:
        print(f"❌ {error}", file=sys.stderr)
        return 2
    print(f"Dagster   {rehearsal.url}  (its certificate is signed by .rehearsal/ca.pem)")
    for name, may in ((OPERATOR, "starts runs"), (VIEWER, "looks")):
        print(f"          {name} / {rehearsal.logins[name]}  {may}")
    print(f"Database  {rehearsal.cluster.url('postgres')}  (the owner's address)")
    print("Logs      .rehearsal/logs/")
    print("👉 make down stops it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
