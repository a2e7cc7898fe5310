"""jm.validate, jm.calibrate, jm.catalog and jm.physics: against the commands, and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import joulemill as jm
from joulemill.cli import main
from joulemill.validation.scores import TEMPLATE
from tests.support.h100_run import on_h100


def test_errors_of_a_table_are_those_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.csv").write_text(TEMPLATE)
    found = jm.validate(tmp_path / "mine.csv")
    assert found.scores["energy_j_tok"].n == 1 and found.scores["energy_j_tok"].median >= 0.0
    main(["validate", str(tmp_path / "mine.csv"), "--json"])
    assert json.loads(json.dumps(found.to_dict())) == json.loads(capsys.readouterr().out)
    assert found.to_frame("pyarrow").to_pydict()["quantity"] == list(found.scores)
    assert repr(found).startswith("<1 rows predicted, 0 skipped")
    with pytest.raises(jm.InputError, match="no such file"):
        jm.validate(tmp_path / "none.csv")
    with pytest.raises(jm.InputError, match="`models`"):
        jm.validate(tmp_path / "mine.csv", models=tmp_path / "none")


def test_a_calibration_is_used_by_the_next_prediction(tmp_path: Path) -> None:
    run = on_h100(tmp_path / "run")
    fitted = jm.calibrate(run, "Qwen/Qwen3-8B", "h100", force=True)
    fitted.save(tmp_path / "c.json")
    before = jm.predict("Qwen/Qwen3-8B", "h100", concurrency=8)
    after = jm.predict("Qwen/Qwen3-8B", "h100", concurrency=8, calibration=tmp_path / "c.json")
    assert before.rate_tok_s.basis is jm.Basis.MODELLED and after.rate_tok_s.basis is jm.Basis.CALIBRATED
    assert fitted.to_dict()["device"] == jm.catalog.device("h100").name and "\n" not in repr(fitted)
    with pytest.raises(jm.InputError, match="`device` is"):
        jm.predict("Qwen/Qwen3-8B", "h200", concurrency=8, calibration=tmp_path / "c.json")
    with pytest.raises(jm.InputError, match="each once"):
        jm.calibrate([run, run], "Qwen/Qwen3-8B", "h100")


def test_the_catalog_knows_devices_and_models_by_name() -> None:
    assert "Qwen/Qwen3-32B" in jm.catalog.models() and jm.catalog.device("H100").name in jm.catalog.devices()
    assert jm.catalog.device("h100").tdp_w == 700.0  # NVIDIA H100 SXM5 data sheet
    # Qwen3-32B, config.json: 64 layers, hidden 5120; 32.8 billion parameters by its model card.
    assert jm.catalog.model("Qwen/Qwen3-32B").architecture.hidden == 5120
    assert {f.source for f in jm.catalog.facts("h100")} and jm.catalog.node(jm.catalog.nodes()[0])
    with pytest.raises(jm.InputError, match="h100"):
        jm.catalog.device("h1000")


def test_public_names_stay_when_the_packages_of_these_names_are_imported() -> None:
    from joulemill.bench import options
    from joulemill.catalog import devices
    from joulemill.physics import hardware

    assert options and devices and hardware
    assert callable(jm.bench) and callable(jm.catalog.devices) and callable(jm.physics.token_rate)


def test_the_production_function_by_hand() -> None:
    """Two resources, three plants: 100/2 = 50 and 90/3 = 30 tok/s; the least, times Φ and U."""
    capacity, intensity = [[100.0, 90.0], [100.0, np.inf], [10.0, 90.0]], [2.0, 3.0]
    np.testing.assert_allclose(jm.physics.token_rate(capacity, intensity, phi=0.5, utilization=0.8), [12.0, 20.0, 2.0])
    np.testing.assert_array_equal(jm.physics.binding_resource(capacity, intensity), [1, 0, 0])
    np.testing.assert_allclose(jm.physics.shadow_prices([0.0, 1.0], 30.0, [100.0, 90.0]), [0.0, 1 / 3])
    assert jm.physics.theta(1.25) == pytest.approx(0.8)
