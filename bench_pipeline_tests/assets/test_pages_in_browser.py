"""The page of a scoreboard as a browser shows it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import httpx
import pytest

from bench_pipeline_tests.assets.pages import page
from bench_pipeline_tests.kit.browser import open_browser
from bench_pipeline_tests.kit.tasks import write_task

ROOT = Path(__file__).parents[2]
MODELS, MOST_PIXELS = 200, 3000
HIGHEST = "() => Math.max(...[...document.querySelectorAll('*')].map(one => one.scrollHeight))"


@pytest.mark.ui
@pytest.mark.timeout(280)
def test_the_page_of_a_scoreboard_of_200_models_is_below_3000_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(ROOT / "dagster.yaml", tmp_path / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("BENCH_TESTCASES_DIR", str(write_task(tmp_path / "testcases").parent))
    event = dg.AssetMaterialization(dg.AssetKey(["grading", "scoreboard"]), metadata=page(MODELS))
    with open_browser() as browser, dg.DagsterInstance.get() as instance:
        instance.report_runless_asset_event(event)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        host, port = address.split(":")
        program = Path(sys.executable).with_name("dagster-webserver")
        command = [program, "-m", "bench_pipeline.definitions", "-h", host, "-p", port]
        server = subprocess.Popen(command, cwd=tmp_path, env=os.environ, stderr=subprocess.DEVNULL)
        try:
            _until_it_answers(f"http://{address}/server_info")
            shown = browser.new_page(viewport={"width": 1440, "height": 900})
            shown.goto(f"http://{address}/assets/grading/scoreboard")
            shown.get_by_text(f"first 20 of {MODELS}").first.wait_for(timeout=60_000)
            shown.get_by_text("019-GGUF").first.wait_for()

            assert shown.evaluate(HIGHEST) < MOST_PIXELS
        finally:
            server.terminate()
            server.wait()


def _until_it_answers(url: str) -> None:
    ends = time.monotonic() + 120
    while True:
        try:
            httpx.get(url, timeout=10)
        except httpx.HTTPError:
            assert time.monotonic() < ends, "waited 120 s for the web server"
            time.sleep(0.2)
        else:
            return
