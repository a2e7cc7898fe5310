"""The page of a simulated day in a real Chromium: nothing fetched, zoom, policies, a phone, the dark; and as text."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import joulemill as jm
from joulemill.reports.html.simulation import PLOTS, render
from joulemill.simulation.events import SiteEvent, SiteEvents
from joulemill.simulation.schedule import constant
from tests.support.paths import EXAMPLES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: chromium)")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    event = SiteEvent(name="cut </script><b>", start_s=20.0, end_s=40.0, cut_ratio=0.25)
    events = SiteEvents(events=(event,), policies=("cap", "admission"), carbon_gco2e=constant(1e-4))
    day = jm.simulate(
        "Qwen/Qwen3-8B",
        "h100",
        rate_req_s=4,
        duration_s=60,
        output_tokens=16,
        max_num_seqs=32,
        scenarios=0,
        site=EXAMPLES / "site.toml",
        events=events,
    )
    path = tmp_path_factory.mktemp("day") / "day.html"
    path.write_text(render(day.to_dict(), day.all_series(), day.headline), encoding="utf-8")
    return path


def test_the_page_fetches_nothing_and_no_text_ends_its_script(page: Path) -> None:
    text = page.read_text("utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)
    assert "cut </script>" not in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    assert data["events"][0]["name"] == "cut </script><b>"
    assert set(data["series"]) == {"none", "cap", "admission"}
    assert all(len(column) == len(data["series"]["cap"]["t_s"]) for column in data["series"]["cap"].values())


def test_the_table_says_what_each_policy_costs(page: Path) -> None:
    text = page.read_text("utf-8")
    for words in ("What each policy costs", "every device is capped alike", "limit kept", "Where the joules went"):
        assert words in text


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def opened(browser: Any, page: Path, width: int = 1440, scheme: str = "light") -> tuple[Any, list[str]]:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab, faults = context.new_page(), []
    tab.on("pageerror", lambda fault: faults.append(str(fault)))
    tab.on("request", lambda r: faults.append(r.url) if not r.url.startswith("file:") else None)
    tab.goto(page.as_uri())
    tab.wait_for_selector(".u-over")
    return tab, faults


def spans(tab: Any) -> list[list[float]]:
    return tab.evaluate("plots.map((p) => [p.scales.x.min, p.scales.x.max])")  # type: ignore[no-any-return]


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_day_is_drawn_on_a_screen_and_a_phone(browser: Any, page: Path, width: int, scheme: str) -> None:
    tab, faults = opened(browser, page, width, scheme)
    assert tab.locator(".u-over").count() == len(PLOTS)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    if width == 1440:  # the plots are on the first screen
        assert tab.evaluate("document.querySelector('.plots').getBoundingClientRect().bottom") <= 900
    ink = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ink)[:3])) < 200) == (scheme == "dark")
    assert not faults
    tab.context.close()


@needs_chromium
def test_dragging_zooms_every_plot_and_a_button_shows_all_again(browser: Any, page: Path) -> None:
    tab, faults = opened(browser, page)
    whole = spans(tab)
    box = tab.locator(".u-over").first.bounding_box()
    y = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] * 0.25, y)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.5, y, steps=4)
    tab.mouse.up()
    tab.wait_for_function("plots[0].scales.x.max < 40")
    zoomed = spans(tab)
    assert all(z == zoomed[0] for z in zoomed)
    assert zoomed[0][0] > whole[0][0]
    tab.get_by_role("button", name="whole time").click()
    assert spans(tab) == whole, faults
    assert not faults
    tab.context.close()


@needs_chromium
def test_a_policy_is_chosen_and_its_series_drawn(browser: Any, page: Path) -> None:
    tab, faults = opened(browser, page)
    capped = tab.evaluate("plots[0].data[1].slice()")
    tab.get_by_role("button", name="admission").click()
    assert tab.get_by_role("button", name="admission").get_attribute("aria-pressed") == "true"
    assert tab.evaluate("plots[0].data[1].slice()") != capped
    assert tab.locator("tr.shown").get_attribute("data-policy") == "admission"
    assert not faults
    tab.context.close()
