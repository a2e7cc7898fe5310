"""How fast the explorer answers: its API over a socket, and the page in Chromium from a slider's key to the figures.

    python benchmarks/explore_speed.py

A server as `joulemill explore` starts it. Every question is new to it: nothing comes from what it has kept. Times on
the wall want a quiet machine; processor time per answer does not. Asked for: 100 ms at p95 of the API, 200 ms on the
page.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlencode

PLAIN = {"model": "Qwen/Qwen3-32B", "device": "h100", "devices": "2", "input-tokens": "512", "output-tokens": "512"}
QUESTIONS, MOVES = 200, 60
#: Time from a slider's event to the next frame after the figures have changed.
TIMED = """() => {
  window.times = [];
  let began = null;
  const slider = document.querySelector('[data-slider="concurrency"]');
  slider.addEventListener('input', () => { began = performance.now(); }, true);
  new MutationObserver(() => {
    if (began === null) return;
    const since = began;
    began = null;
    requestAnimationFrame(() => window.times.push(performance.now() - since));
  }).observe(document.getElementById('whatif'), { childList: true, characterData: true, subtree: true });
}"""


@contextmanager
def served() -> Iterator[tuple[int, int]]:
    """Port and process of a server."""
    words = [sys.executable, "-m", "joulemill", "explore", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline() if process.stderr is not None else ""
        yield int(line.rsplit(":", 1)[1].split()[0]), process.pid
        process.terminate()


def cpu_s(pid: int) -> float:
    """Processor time that the process has taken [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100.0  # USER_HZ of Linux


def api_s(port: int) -> list[float]:
    """Time on the wall of each question [s], one after the other; the first, which loads the model, is not counted."""
    http = HTTPConnection("127.0.0.1", port)
    times = []
    for i in range(QUESTIONS + 1):
        began = time.perf_counter()
        http.request("GET", f"/api/prediction?{urlencode(PLAIN | {'concurrency': 1 + i})}")
        json.loads(http.getresponse().read())
        times.append(time.perf_counter() - began)
    return times[1:]


def page_s(port: int, chromium: str) -> list[float]:
    """Time on the page of each move of the concurrency's slider [s]."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#sensitivity .fill")
        page.fill("#d0-input-tokens", "640")  # none of its questions was asked by the other measurement
        page.wait_for_timeout(2000)
        page.evaluate(TIMED)
        page.focus('[data-slider="concurrency"]')
        page.keyboard.press("Home")
        page.wait_for_timeout(500)
        for _ in range(MOVES):
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(400)
        times = page.evaluate("window.times")
        browser.close()
    return [ms / 1e3 for ms in times]


def said(name: str, times_s: list[float]) -> str:
    cuts = quantiles(times_s, n=20)
    return f"{name}: p50 {1e3 * cuts[9]:.1f} ms, p95 {1e3 * cuts[18]:.1f} ms, {len(times_s)} times"


def main() -> int:
    with served() as (port, pid):
        before = cpu_s(pid)
        times = api_s(port)
        print(
            said("API", times) + f"; {1e3 * (cpu_s(pid) - before) / (QUESTIONS + 1):.1f} ms of processor time an answer"
        )
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if chromium is None:
            print("no Chromium is installed: the page is not measured")
            return 0
        print(said("page", page_s(port, chromium)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
