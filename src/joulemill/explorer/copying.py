"""The page's questions asked elsewhere: each view as commands of a shell and as Python that give the same figures."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from joulemill.api.prediction import predict
from joulemill.explorer.asking import FIELDS, NUMBER_KEYS, SITE, Asked
from joulemill.figure import Basis
from joulemill.physics.hardware.site import Site
from joulemill.units import JOULE_PER_KWH

_S_PER_H = 3600.0
#: Field of a site → its key in a site file, and what its number is multiplied by there; None: a text.
_SITE_FILE: dict[str, tuple[str, float | None]] = {
    "name": ("name", None),
    "pue_ratio": ("pue", 1.0),
    "it_power_limit_w": ("it_power_limit", 1.0),
    "facility_power_limit_w": ("facility_power_limit", 1.0),
    "cooling_limit_w": ("cooling_limit", 1.0),
    "carbon_gco2e_j": ("carbon_gco2e_kwh", JOULE_PER_KWH),
    "carbon_kind": ("carbon_kind", None),
    "embodied_gco2e_s": ("embodied_gco2e_h", _S_PER_H),
    "embodied_source": ("embodied_source", None),
    "price_currency_j": ("price_currency_kwh", JOULE_PER_KWH),
    "currency": ("currency", None),
    "residual_currency_s": ("residual_currency_h", _S_PER_H),
    "residual_source": ("residual_source", None),
    "water_l_j": ("water_l_kwh", JOULE_PER_KWH),
    "grid_water_l_j": ("grid_water_l_kwh", JOULE_PER_KWH),
}
#: What a curve over concurrency does without: these set the concurrency, or are not of the curve.
_NOT_ON_A_CURVE = ("concurrency", "rate", "slo-ttft", "slo-tpot", "max-num-seqs")
#: Flags that ``simulate`` shares with ``predict``; the others are the day's own.
_SIMULATED = tuple(f for f in FIELDS if f not in ("concurrency", "rate", "output-spread", "cached"))
SITE_FILE = "site.toml"
IMPORT = "import joulemill as jm\n\n"


@dataclass(frozen=True)
class ViewCommands:
    """One view as commands of a shell, and as Python."""

    cli: str
    python: str


def of_prediction(question: Asked, stated: Mapping[str, Any]) -> ViewCommands:
    """``predict``."""
    line = _line("predict", question.flags, FIELDS, _site_words(question, stated))
    return ViewCommands(_site_file(question, stated) + line, f"{IMPORT}p = {_predict_call(stated)}\nprint(p)")


def of_levers(question: Asked, stated: Mapping[str, Any]) -> ViewCommands:
    """``levers``."""
    line = _line("levers", question.flags, FIELDS, _site_words(question, stated))
    python = f"{IMPORT}study = {_predict_call(stated)}.levers()\nprint(study)"
    return ViewCommands(_site_file(question, stated) + line, python)


def of_curve(question: Asked, same: Mapping[str, Any], concurrencies: Sequence[float]) -> ViewCommands:
    """A loop over concurrency, and ``predict_many``. ``same``: the arguments that all points have."""
    words = " ".join(f"{c:g}" for c in concurrencies)
    fields = [f for f in FIELDS if f not in _NOT_ON_A_CURVE]
    line = _line("predict", question.flags, fields, ())
    cli = f"for c in {words}; do\n  {line} --concurrency $c --json\ndone"
    call = _call("jm.predict_many", [f'{{"concurrency": {[*concurrencies]}}}', *_keywords(same)])
    return ViewCommands(cli, f'{IMPORT}table = {call}\nprint(table["node_j_tok"])')


def of_changes(
    question: Asked,
    stated: Mapping[str, Any],
    scope: str,
    changes: Iterable[tuple[Mapping[str, str], Mapping[str, Any]]],
) -> ViewCommands:
    """The deployment, then one prediction a change: of the page's texts, and of the arguments of ``predict``."""
    first = of_prediction(question, stated)
    lines, arguments = [first.cli + " --json"], []
    for texts, changed in changes:
        flags = {**question.flags, **{k: v for k, v in texts.items() if not k.startswith(SITE)}}
        site = {k.removeprefix(SITE): v for k, v in texts.items() if k.startswith(SITE)}
        other = replace(question, flags=flags, site={**question.site, **site})
        name = "changed_site.toml" if site else SITE_FILE
        file = _site_file(other, {**stated, **changed}, name) if site else ""
        lines.append(f"{file}{_line('predict', flags, FIELDS, _site_words(other, stated, name))} --json")
        arguments.append("{" + ", ".join(f"{k!r}: {_value(v)}" for k, v in changed.items()) + "}")
    python = (
        f"{IMPORT}stated = dict(\n    " + ",\n    ".join(_keywords(stated)) + ",\n)\n"
        "p = jm.predict(**stated)\n"
        "for change in [\n    " + ",\n    ".join(arguments) + ",\n]:\n"
        "    q = jm.predict(**{**stated, **change})\n"
        f"    print(change, q.energy.{scope}.value / p.energy.{scope}.value - 1)"
    )
    return ViewCommands("\n".join(lines), python)


def of_day(
    question: Asked, stated: Mapping[str, Any], traffic: Mapping[str, str], events: str, deployment: Mapping[str, Any]
) -> ViewCommands:
    """``simulate``. ``traffic``: its flags; ``events``: text of an events file, empty where nothing happens;
    ``deployment``: arguments of ``joulemill.simulate``."""
    more = [w for k, v in traffic.items() for w in (f"--{k}", v)]
    more += ["--events", "events.toml"] if events else []
    line = _line("simulate", question.flags, _SIMULATED, (*more, *_site_words(question, stated)))
    file = f"cat > events.toml <<'END'\n{events}END\n" if events else ""
    written = f"from pathlib import Path\n\nPath('events.toml').write_text({events!r})\n" if events else ""
    call = _call("jm.simulate", _keywords(deployment) + (["events='events.toml'"] if events else []))
    head = IMPORT.rstrip() + "\n" + (written or "\n")
    return ViewCommands(_site_file(question, stated) + file + line, f"{head}day = {call}\nprint(day)")


def of_plan(name: str, changes: Sequence[str]) -> ViewCommands:
    """``plan`` on the file ``name`` with limits moved."""
    words = ["joulemill", "plan", name, "--quick", *(w for c in changes for w in ("--set", c))]
    call = _call("jm.plan", [repr(name), f"changes={[*changes]!r}", "extras=False"])
    return ViewCommands(shlex.join(words), f"{IMPORT}plan = {call}\nprint(plan)")


def _line(command: str, flags: Mapping[str, str], allowed: Iterable[str], more: Iterable[str]) -> str:
    words = [w for name in allowed if name in flags for w in (f"--{name}", flags[name])]
    return shlex.join(["joulemill", command, *words, *more])


def _site_words(question: Asked, stated: Mapping[str, Any], name: str = SITE_FILE) -> tuple[str, ...]:
    return ("--site", name) if question.site or isinstance(stated.get("site"), Site) else ()


def _site_file(question: Asked, stated: Mapping[str, Any], name: str = SITE_FILE) -> str:
    """A here-document that writes the site: the page's texts as they are, and the rest of the site it began with."""
    lines = [f"{k} = {repr(float(v)) if k in NUMBER_KEYS else _quoted(v)}" for k, v in question.site.items()]
    place = stated.get("site")
    if isinstance(place, Site):
        lines += [f"{k} = {v}" for k, v in _site_rows(place) if k not in question.site]
    return f"cat > {name} <<'END'\n" + "\n".join(lines) + "\nEND\n" if lines else ""


def _site_rows(place: Site) -> Iterable[tuple[str, str]]:
    default = Site()
    for field, (key, factor) in _SITE_FILE.items():
        value = getattr(place, field)
        if value is None or value == getattr(default, field):
            continue
        if field.endswith("_limit_w"):
            yield key, _quoted(f"{value!r} W")
        else:
            yield key, _quoted(value) if factor is None else repr(value * factor)
    if place.pue_ratio is not None and place.pue_basis is not Basis.DECLARED:
        yield "pue_basis", _quoted(str(place.pue_basis))


def _predict_call(stated: Mapping[str, Any]) -> str:
    return _call("jm.predict", _keywords(stated))


def _keywords(stated: Mapping[str, Any]) -> list[str]:
    """Arguments in Python, without those that are as ``predict`` has them by default."""
    defaults = {name: p.default for name, p in inspect.signature(predict).parameters.items()}
    return [f"{k}={_value(v)}" for k, v in stated.items() if k not in defaults or v != defaults[k]]


def _value(value: Any) -> str:
    if isinstance(value, Site):
        default = Site()
        stated = {k: v for k, v in vars(value).items() if v != getattr(default, k)}
        return "jm.Site(" + ", ".join(f"{k}={_value(v)}" for k, v in stated.items()) + ")"
    return f"jm.Basis.{value.name}" if isinstance(value, Basis) else repr(value)


def _call(name: str, arguments: Iterable[str]) -> str:
    return f"{name}(\n    " + ",\n    ".join(arguments) + ",\n)"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
