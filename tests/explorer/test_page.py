"""The explorer in a real Chromium: by keyboard, on a phone, in the dark, in print, from a link, from a disk."""

from __future__ import annotations

import asyncio
import json
import re
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
from joulemill.catalog.published_runs import published_runs
from joulemill.explorer.app import PageSetting, create_app
from joulemill.explorer.atlas import Selection, export
from joulemill.monitor.web.server import listen_at, serve_on
from tests.support.explorer import PLAN, READ, RUNS
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
        told = page.inner_text("#readout")
        assert "concurrency 3" in told and "modelled" in told
        for name in ("J/token, devices", "J/token, nodes", "output rate", "per user", "TTFT", "TPOT", "power, nodes"):
            assert name in told, told
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
        page.wait_for_selector('#table tr[data-row="Energy, site"] td b[data-value]')
        page.fill("#site-price_currency_kwh", "0.2")
        page.fill("#site-currency", "CHF")
        page.wait_for_function("() => document.getElementById('whatif').innerText.includes('CHF')")
        assert "J/token, site" in page.inner_text("#whatif")
        page.wait_for_function("() => document.querySelector('#table').innerText.includes('CHF')")
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
        page.click("#deployments fieldset:nth-child(2) summary:has-text('site of its own')")
        page.fill('[id="d1-site.pue"]', "0.5")
        page.wait_for_function("() => document.getElementById('d1-site.pue-error').innerText.includes('at least 1')")
        page.fill('[id="d1-site.pue"]', "1.5")
        page.wait_for_selector('#table tr[data-row="Energy, site"] td:nth-child(3) b[data-value]')
        assert cell(page, "Energy, site").inner_text().startswith("–")  # the other deployment has no site
        page.fill("#d1-model", '<img src=x onerror="document.title=1">')
        page.wait_for_function("() => document.getElementById('d1-model-error').innerText.length > 0")
        assert page.title() == "Joulemill explorer" and page.locator("main img").count() == 0


def test_measured_runs_stand_beside_the_curves(browser: Any, url: str, tmp_path: Path) -> None:
    jm.simulate("Qwen/Qwen3-8B", "h100", rate_req_s=2, requests=60, output_tokens=64, scenarios=0).to_run(
        tmp_path / "a-run"
    )
    with opened(browser, url) as page:
        settled(page)
        page.select_option("#y", "device_j_tok")
        page.wait_for_selector("#plane .published", state="attached")
        assert page.locator("#plane .published").count() == sum(r.model == "Qwen/Qwen3-32B" for r in published_runs())
        dropped = page.evaluate_handle(
            "t => { const d = new DataTransfer(); d.items.add(new File([t], 'mine.csv')); return d; }",
            RUNS,
        )
        page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
        page.wait_for_selector("#plane .measured", state="attached")
        page.set_input_files("#folder", tmp_path / "a-run")
        page.wait_for_function("() => document.querySelectorAll('#plane .measured').length === 2")
        listed = page.inner_text("#measured")
        assert "mine.csv: 1 measured points; 1 rows left out" in listed and "a-run: 1 measured points" in listed
        page.locator("#plane .published").first.hover()
        assert "ML.ENERGY" in page.inner_text("#readout") and "Apache-2.0" in page.inner_text("#readout")
        page.focus("#plane")
        page.keyboard.press("ArrowUp")  # from the published points up to the run folder
        assert "a-run" in page.inner_text("#readout") and "modelled" in page.inner_text("#readout")
        page.uncheck("#published")
        assert page.locator("#plane .published").count() == 0


def test_six_deployments_on_any_axes_with_the_slo_region(browser: Any, url: str) -> None:
    with opened(browser, url) as page:
        settled(page)
        page.fill("#d0-slo-tpot", "25ms")
        page.wait_for_selector("#plane .slo", state="attached")
        for _ in range(4):
            page.click("#add")
        assert page.is_disabled("#add")
        page.wait_for_function("() => document.querySelectorAll('#plane .curve').length === 6")
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDE["width"]
        # The limit is drawn once its deployment is answered anew, which may be after its curve of before.
        right = "() => { const b = document.querySelector('#plane .slo')?.getBBox(); return b && b.x + b.width / 2; }"
        beyond_tpot = page.wait_for_function(right).json_value()
        page.select_option("#x", "user_tok_s")  # fewer tokens a second are beyond the same limit: left, not right
        page.select_option("#y", "tok_s_mw")
        page.wait_for_function(f"() => ({right})() < {beyond_tpot}")
        page.wait_for_function("() => document.querySelector('#plane').textContent.includes('25 ms')")
        page.uncheck("#log")
        assert page.locator("#plane .curve").count() == 6 and "log=0" in page.url and "x=user_tok_s" in page.url


def test_what_is_copied_is_what_the_server_says(browser: Any, url: str) -> None:
    with opened(browser, url, permissions=["clipboard-read", "clipboard-write"]) as page:
        settled(page)
        page.wait_for_function("() => !document.querySelector('[data-copies=plane] button').disabled")
        for view, begins in (
            ("table", "joulemill predict --model"),
            ("plane", "for c in 1"),
            ("sensitivity", "joulemill"),
        ):
            page.click(f"[data-copies={view}] button[data-kind=cli]")
            page.wait_for_function(
                "v => document.querySelector(`[data-copies=${v}]`).innerText.includes('copied')", arg=view
            )
            assert page.evaluate("navigator.clipboard.readText()").startswith(begins)
        page.click("[data-copies=table] button[data-kind=python]")
        page.wait_for_function(
            "() => document.querySelector('[data-copies=table]').innerText.includes('Python copied')"
        )
        text = page.evaluate("navigator.clipboard.readText()")
        assert text.count("import joulemill") == 1 and text.count("jm.predict") == 2
        compile(text, "copied", "exec")


def test_levers_a_day_and_a_plan(browser: Any, url: str, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    (tmp_path / "trace.csv").write_text("timestamp_s,input_tokens,output_tokens\n0,64,32\n5,128,64\n300,32,16\n")
    with opened(
        browser, f"{url}#d=model%3DQwen%252FQwen3-8B%26device%3Dh100&day.duration=10min&day.rate=0.5req/s"
    ) as page:
        settled(page)
        assert page.input_value("#day-duration") == "10min"
        page.click("#rank")
        page.wait_for_selector("#tornado .interval", state="attached")
        assert re.search(r"[+−]\d[\d.]* to [+−]\d", page.inner_text("#tornado"))
        assert "modelled, no interval" in page.inner_text("#combinations")
        page.click("#day-play")
        page.wait_for_selector("#day-table td")
        rows = page.locator("#day-table tr").all_inner_texts()
        assert all(("modelled" in r) != ("–" in r) for r in rows[1:]), rows
        assert any("J/tok" in r and " to " in r for r in rows) and page.locator("#day-plots canvas").count() == 4
        page.set_input_files("#day-trace", tmp_path / "trace.csv")
        page.click("#day-play")
        page.wait_for_function("() => document.getElementById('day-table').innerText.includes('3 of 3 completed')")
        page.set_input_files("#plan-file", tmp_path / "plan.toml")
        page.wait_for_selector("#plan-flows .flow", state="attached")
        before = page.inner_text("#plan-constraints")
        page.focus("#plan-limits input")
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        page.wait_for_function("t => document.getElementById('plan-constraints').innerText !== t", arg=before)
        page.wait_for_function("() => !document.querySelector('[data-copies=plan] button').disabled")
        assert faults_of(page) == []


def test_a_share_of_full_load_is_a_rate(browser: Any, url: str) -> None:
    with opened(browser, url) as page:
        settled(page)
        page.focus('[data-slider="utilization"]')
        page.keyboard.press("Home")
        page.wait_for_function("() => document.getElementById('d0-rate').value.endsWith('req/s')")
        rate = float(page.input_value("#d0-rate").removesuffix("req/s"))
        full = jm.predict("Qwen/Qwen3-32B", "h100", devices=2, concurrency=32).request_rate_req_s.value
        assert rate == pytest.approx(0.05 * full, rel=1e-3) and page.input_value("#d0-concurrency") == ""
        page.keyboard.press("End")
        page.wait_for_function("() => document.getElementById('d0-rate').value === ''")
        assert page.input_value("#d0-concurrency") == "32"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_runs_out_of_the_page(browser: Any, url: str, scheme: str) -> None:
    with opened(browser, url, viewport={"width": 390, "height": 844}, color_scheme=scheme) as page:
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(251, 250, 247)", "dark": "rgb(20, 23, 26)"}[scheme]
        page.emulate_media(media="print")
        assert not page.locator("#add").is_visible() and page.locator("#table").is_visible()
        assert not page.locator("#plan-title").is_visible()  # a card that was not used is left out
        assert page.evaluate("getComputedStyle(document.getElementById('table')).color") == "rgb(28, 31, 35)"


def faults_of(page: Any) -> list[Any]:
    """What axe-core finds serious or worse on the page as it is; nothing where it is not installed."""
    if not AXE.is_file():
        return []
    page.evaluate(AXE.read_text())
    violations = page.evaluate("async () => (await axe.run()).violations.map((v) => [v.impact, v.id, v.nodes[0].html])")
    return [v for v in violations if v[0] in ("serious", "critical")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_serious_fault(browser: Any, url: str, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (make counterparts)")
    with opened(browser, url, bypass_csp=True, color_scheme=scheme) as page:
        settled(page)
        for summary in page.locator("summary").all():
            summary.click()
        assert faults_of(page) == []


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
