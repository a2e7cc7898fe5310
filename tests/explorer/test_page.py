"""The explorer in a real Chromium: by keyboard, on a phone, in the dark, in print, from a link, from a disk."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the monitor extra is not installed")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright import sync_api as playwright

import joulemill as jm
from joulemill.explorer.app import PageSetting, create_app
from joulemill.explorer.atlas import Selection, export
from joulemill.monitor.web.server import listen_at, serve_on
from tests.support.explorer import READ, RUNS
from tests.support.paths import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: chromium)")
#: `make counterparts` puts it there.
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
#: Answers of the server, and of the page, wait for a busy machine: the 95th percentile is looked at in CPU time.
WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    listener = listen_at("127.0.0.1", 0)
    loop, ready = asyncio.new_event_loop(), threading.Event()
    stop: list[asyncio.Event] = []

    async def run() -> None:
        stop.append(asyncio.Event())
        await serve_on(create_app(PageSetting(read=READ)), listener, stop[0], lambda _: ready.set())

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert ready.wait(60)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    loop.call_soon_threadsafe(stop[0].set)
    thread.join(10)
    listener.close()
    loop.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as p:
        opened_browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened_browser
        opened_browser.close()


@contextmanager
def opened(browser: Any, address: str, **settings: Any) -> Iterator[Any]:
    context = browser.new_context(**{"viewport": WIDE, **settings})
    context.set_default_timeout(60_000)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" and "422" not in m.text else None)
    page.goto(address)
    yield page
    assert faults == [], faults
    context.close()


def cell(page: Any, row: str, column: int = 1) -> Any:
    return page.locator(f'#table tr[data-row="{row}"] td:nth-child({column + 1})')


def settled(page: Any) -> None:
    page.wait_for_selector("#plane svg .curve")
    page.wait_for_selector("#sensitivity .fill")


def test_two_deployments_are_chosen_by_keyboard_and_the_figures_are_the_predictions(browser: Any, url: str) -> None:
    with opened(browser, url) as page:
        settled(page)
        page.focus("#d1-model")
        page.keyboard.press("Control+a")
        page.keyboard.type("Qwen/Qwen3-8B")
        page.keyboard.press("Tab")
        page.keyboard.type("h200")
        page.wait_for_function(
            "() => document.querySelector('#table thead').innerText.includes('Qwen3-8B on 1 × h200')"
        )
        page.wait_for_function("() => !document.querySelector('#d1-device[aria-invalid]')")
        expected = jm.predict("Qwen/Qwen3-8B", "h200", concurrency=32)
        value = expected.energy.node.value
        page.wait_for_function(
            "v => Math.abs(Number(document.querySelector('#table tr[data-row=\"Energy, nodes\"] td:nth-child(3) b')"
            ".dataset.value) / v - 1) < 1e-9",
            arg=value,
        )
        assert "modelled" in cell(page, "Energy, nodes", 2).inner_text()
        assert cell(page, "Active constraint", 2).inner_text() == expected.bottleneck.replace("_", " ")
        page.focus("#plane")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert "concurrency 3" in page.inner_text("#readout") and "modelled" in page.inner_text("#readout")
        assert "undefined" not in page.inner_text("body") and "NaN" not in page.inner_text("body")


def test_a_slider_asks_anew_and_the_link_holds_the_whole_state(browser: Any, url: str) -> None:
    with opened(browser, url) as page:
        settled(page)
        before = page.inner_text("#whatif")
        page.focus('[data-slider="concurrency"]')
        began = time.monotonic()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("t => document.getElementById('whatif').innerText !== t", arg=before)
        took_s = time.monotonic() - began
        assert took_s < 10.0  # the page itself takes milliseconds; a busy machine is allowed for
        concurrency = page.input_value("#d0-concurrency")
        page.click("#site-card summary")
        page.fill("#site-pue", "1.2")
        page.wait_for_function(
            "() => document.querySelector('#table tr[data-row=\"Energy, site\"] td b').innerText !== '–'"
        )
        address, shown = page.url, cell(page, "Energy, site").inner_text()
    with opened(browser, address) as page:
        settled(page)
        assert page.input_value("#d0-concurrency") == concurrency and page.input_value("#site-pue") == "1.2"
        page.wait_for_function("t => document.body.innerText.includes(t)", arg=shown.splitlines()[0])


def test_a_bad_value_is_said_beside_its_field_and_hostile_names_are_text(browser: Any, url: str) -> None:
    with opened(browser, url) as page:
        settled(page)
        page.fill("#d0-power-cap", "500")
        page.wait_for_function("() => document.getElementById('d0-power-cap-error').innerText.includes('no unit')")
        assert page.get_attribute("#d0-power-cap", "aria-invalid") == "true"
        page.fill("#d0-power-cap", "")
        page.fill("#d1-model", '<img src=x onerror="document.title=1">')
        page.wait_for_function("() => document.getElementById('d1-model-error').innerText.length > 0")
        assert page.title() == "Joulemill explorer" and page.locator("main img").count() == 0


def test_a_dropped_table_stands_beside_the_curves(browser: Any, url: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(RUNS)
    with opened(browser, url) as page:
        settled(page)
        page.select_option("#y", "device_j_tok")
        page.set_input_files("#file", tmp_path / "mine.csv")
        page.wait_for_selector("#plane .measured", state="attached")
        assert "mine.csv: 1 measured points; 1 rows left out" in page.inner_text("#measured")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_runs_out_of_the_page(browser: Any, url: str, scheme: str) -> None:
    with opened(browser, url, viewport={"width": 390, "height": 844}, color_scheme=scheme) as page:
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(251, 250, 247)", "dark": "rgb(20, 23, 26)"}[scheme]
        page.emulate_media(media="print")
        assert not page.locator("#add").is_visible() and page.locator("#table").is_visible()


def test_axe_has_no_serious_fault(browser: Any, url: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (make counterparts)")
    with opened(browser, url, bypass_csp=True) as page:
        settled(page)
        page.evaluate(AXE.read_text())
        violations = page.evaluate("async () => (await axe.run()).violations.map((v) => [v.impact, v.id])")
        assert [v for v in violations if v[0] in ("serious", "critical")] == []


def test_an_atlas_opens_from_the_disk(browser: Any, tmp_path: Path) -> None:
    export(tmp_path, Selection(["Qwen/Qwen3-8B"], ["h100", "b200"], [None], [(512, 512)]))
    with opened(browser, (tmp_path / "index.html").as_uri()) as page:
        page.wait_for_selector("#plane svg .curve")
        assert page.locator("#plane .curve").count() == 2
        page.focus("#plane")
        page.keyboard.press("ArrowRight")
        assert "h100" in page.inner_text("#readout")
        data = json.loads(page.evaluate("document.getElementById('data').textContent"))
        assert len(data["entries"]) == 2
