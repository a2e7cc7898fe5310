"""What the page states, read as the command line reads it; files stay closed; faults name their field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from joulemill.explorer.asking import FieldError, arguments, asked, field_named, names_a_file
from joulemill.physics.hardware.site import Site
from tests.support.explorer import PLAIN, READ


def stated(**more: str) -> Mapping[str, Any]:
    return arguments(asked(PLAIN | {k.replace("_", "-"): v for k, v in more.items()}), READ)


def test_texts_mean_what_they_mean_on_the_command_line() -> None:
    values = stated(power_cap="500 W", slo_tpot="30ms", input_tokens="8192", gpu_memory_utilization="90 %")
    assert values["power_cap_w"] == 500.0 and values["slo_tpot_s"] == pytest.approx(0.03)
    assert values["input_tokens"] == 8192.0 and values["gpu_memory_utilization"] == pytest.approx(0.9)
    assert values["devices"] == 2 and values["site"] is None


def test_the_pages_site_stands_above_the_one_it_was_started_with() -> None:
    base = Site(name="Oslo", pue_ratio=1.3, carbon_gco2e_j=1e-5, cooling_limit_w=5e4)
    question = asked(PLAIN | {"site.pue": "1.1", "site.it_power_limit": "40 kW", "site.price_currency_kwh": "0.36"})
    site = arguments(question, READ, base)["site"]
    assert (site.pue_ratio, site.it_power_limit_w, site.cooling_limit_w) == (1.1, 40e3, 5e4)
    assert site.price_currency_j == pytest.approx(1e-7) and site.carbon_gco2e_j == 1e-5
    assert arguments(asked(PLAIN), READ, base)["site"] is base


@pytest.mark.parametrize(
    ("pairs", "field", "says"),
    [
        ({"device": "h999"}, "device", "not in the catalog"),
        ({"model": "/etc/passwd"}, "model", "names a file"),
        ({"model": "../model/config.json"}, "model", "names a file"),
        ({"model": "http://host/a"}, "model", "names a file"),
        ({"device": "own.toml"}, "device", "names a file"),
        ({"model": ""}, "model", "name a model"),
        ({"power-cap": "500"}, "power-cap", "no unit"),
        ({"power-cap": "-5W"}, "power-cap", "power-cap"),
        ({"devices": "two"}, "devices", "devices"),
        ({"rate": "3req/s"}, "rate", "not allowed with argument --concurrency"),
        ({"site.pue": "0.5"}, "site.pue", "at least 1"),
        ({"site.pue": "low"}, "site.pue", "not a number"),
        ({"site.cooling_limit": "30"}, "site.cooling_limit", "cooling_limit"),
        ({"concurrency": "1" * 300}, "concurrency", "longer than"),
        ({"engine": "vl\x07lm"}, "engine", "not printable"),
        ({"calibration": "/etc/shadow"}, "", "no field"),
        ({"site": "/etc/shadow"}, "", "no field"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(pairs: dict[str, str], field: str, says: str) -> None:
    with pytest.raises(FieldError) as caught:
        arguments(asked(PLAIN | pairs), READ)
    assert caught.value.field == field
    assert says in str(caught.value)


def test_the_field_named_first_counts_and_the_longest_name_of_it() -> None:
    assert field_named("--devices 3 cannot be cut with --tp 2") == "devices"
    assert field_named("--max-num-batched-tokens: too many") == "max-num-batched-tokens"
    assert field_named("nothing is named") == ""


@pytest.mark.parametrize("text", ["/etc/passwd", "./m", "~/m", "a/b/c", "http://host/a", "own.toml", "m.GGUF", "..\\m"])
def test_what_names_a_file(text: str) -> None:
    assert names_a_file(text)


def test_names_of_the_catalog_name_no_file() -> None:
    assert not names_a_file("Qwen/Qwen3-32B") and not names_a_file("Llama-3.1-8B") and not names_a_file("")
