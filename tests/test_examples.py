"""The examples, run as they stand: the workflow's steps by bash, the recipe by pytest, on recorded runs."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import joulemill as jm
from joulemill.cli import main
from tests.support.recorded import recorded

EXAMPLES = Path(__file__).parent.parent / "examples"
#: Stands in for a server: `bench` copies the next recorded run; every other verb is the real one.
STAND_IN = """#!/bin/bash
if [ "$1" = bench ]; then
  while [ "$1" != --out ]; do shift; done
  mkdir -p "$(dirname "$2")" && exec cp -r "$RECORDED/$(basename "$2")" "$2"
fi
exec "{python}" -m joulemill "$@"
"""


def steps(workflow: str) -> dict[str, str]:
    """The ``run`` texts of a workflow by step name: a block after ``run: |``, or the rest of the line."""
    found: dict[str, str] = {}
    name, lines = "", workflow.splitlines()
    for number, line in enumerate(lines):
        words = line.strip()
        if words.startswith("- name: "):
            name = words.removeprefix("- name: ")
        elif words.startswith("run: "):
            text = words.removeprefix("run: ")
            found[name] = _block(lines[number + 1 :], line) if text == "|" else text
    return found


def _block(rest: list[str], head: str) -> str:
    indent = len(head) - len(head.lstrip())
    block = []
    for line in rest:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        block.append(line[indent + 2 :])
    return "\n".join(block)


def env_of(workflow: str) -> dict[str, str]:
    """The job's ``env``."""
    block = _block(workflow.split("    env:\n")[1].splitlines(), "    env:")
    pairs = (line.split(": ", 1) for line in block.splitlines() if line.strip() and not line.startswith("#"))
    return {k.strip(): v.strip().strip('"') for k, v in pairs}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a baseline of three runs; recorded runs that are the same, worse, and without a meter."""
    here = tmp_path_factory.mktemp("project")
    base = [str(recorded(here / "base" / f"b{n}", seed=n, noise=0.02)) for n in (1, 2, 3)]
    for n in (1, 2, 3):
        recorded(here / "same" / f"new-{n}", seed=10 + n, noise=0.02)
        recorded(here / "worse" / f"new-{n}", seed=20 + n, noise=0.02, factor=1.15)
        recorded(here / "unmetered" / f"new-{n}", seed=30 + n, metered=False)
    assert main(["baseline", "set", *base, "--file", str(here / "joulemill-baseline.json")]) == 0
    tool = here / "bin" / "joulemill"
    tool.parent.mkdir()
    tool.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    tool.chmod(0o755)
    return here


def run_step(text: str, project: Path, kind: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One step as the runner does it: ``bash -e -o pipefail``, in the project, with the job's environment."""
    job = env_of((EXAMPLES / "gate.github.yml").read_text(encoding="utf-8"))
    env = {
        **os.environ,
        **job,
        "RECORDED": str(project / kind),
        "PATH": f"{project / 'bin'}:{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(project / "summary.md"),
        **more,
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("kind", "code", "said"), [("same", 0, "PASS"), ("worse", 1, "FAIL"), ("unmetered", 1, "UNDECIDED")]
)
def test_workflow(project: Path, kind: str, code: int, said: str) -> None:
    shutil.rmtree(project / "runs", ignore_errors=True)
    found = steps((EXAMPLES / "gate.github.yml").read_text(encoding="utf-8"))
    assert list(found) == ["install", "measure", "gate", "show the change"]
    measured = run_step(found["measure"], project, kind)
    assert measured.returncode == 0, measured.stderr
    assert sorted(p.name for p in (project / "runs").iterdir()) == ["new-1", "new-2", "new-3"]
    gated = run_step(found["gate"], project, kind)
    assert gated.returncode == code, gated.stdout + gated.stderr
    assert f"gate: {said}" in gated.stdout and "plan: " in gated.stdout
    assert f"gate: {said}" in (project / "summary.md").read_text(encoding="utf-8")
    if said == "UNDECIDED":
        assert "::warning" in gated.stdout
        assert run_step(found["gate"], project, kind, UNDECIDED_EXIT="0").returncode == 0
    if kind != "worse":
        return
    shown = run_step(found["show the change"], project, kind)
    assert shown.returncode == 0, shown.stderr
    assert "Against the baseline" in (project / "energy.html").read_text(encoding="utf-8")


def recipe(project: Path, folder: Path, kind: str, undecided: str = "") -> tuple[Path, dict[str, str]]:
    """The recipe's own file in ``folder``, and what it reads of the environment."""
    shutil.copy(EXAMPLES / "test_energy_gate.py", folder)
    asked = {
        "ENERGY_BASELINE": str(project / "joulemill-baseline.json"),
        "ENERGY_RUNS": str(project / kind),
        "ENERGY_UNDECIDED": undecided,
    }
    return folder / "test_energy_gate.py", asked


def test_recipe_by_pytest(project: Path, tmp_path: Path) -> None:
    """In a process of its own, as a project runs it."""
    _, asked = recipe(project, tmp_path, "same")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("kind", "undecided", "ends", "said"),
    [
        ("worse", "", pytest.fail.Exception, "energy gate: fail"),
        ("unmetered", "", pytest.fail.Exception, "energy gate: undecided"),
        ("unmetered", "skip", pytest.skip.Exception, "energy gate: undecided"),
    ],
)
def test_recipe(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    kind: str,
    undecided: str,
    ends: type[BaseException],
    said: str,
) -> None:
    """What pytest calls, called."""
    file, asked = recipe(project, tmp_path, kind, undecided)
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ends, match=said):
        runpy.run_path(str(file))["test_energy_per_token_has_not_risen"]()


@pytest.mark.parametrize(("name", "unit"), [("campus", "tok/s"), ("enterprise", "W"), ("lab", "tok/s")])
def test_the_plans_of_the_examples_can_be(name: str, unit: str) -> None:
    """Each has a plan within its limits; what its page says of it is checked by hand there."""
    plan = jm.plan(EXAMPLES / "plan" / f"{name}.toml", extras=False)
    assert plan.feasible and plan.unit == unit
    for row in plan.rows("power"):
        assert row["it_w"] <= row["limit_w"] * (1 + 1e-9)
    for pool in plan.study.use.pools:
        assert float(pool.busy_count.max()) <= pool.owned_count + pool.bought_count + 1e-6
