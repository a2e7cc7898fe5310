"""What the history says each target spent, hour by hour: the rows that are attributed and advised on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from joulemill.figure import Basis, weakest
from joulemill.monitor.history.chargeback import BucketSpending
from joulemill.monitor.history.reader import Reader
from joulemill.monitor.snapshot import ROUTINE

HOUR_S = 3600
#: The widest scope that was metered stands for a target; scopes nest and are never added.
SCOPES = ("node", "device", "cpu")


def spent(reader: Reader, start_s: float, end_s: float) -> list[BucketSpending]:
    """A row for each target and hour in ``[start_s, end_s)`` whose joules are known."""
    facts = {row["id"]: (row["name"], json.loads(row["facts"])) for row in reader.targets()}
    inside = f"length_s = {HOUR_S} AND of > 0 AND start_s >= {float(start_s)} AND start_s < {float(end_s)}"
    tokens = {
        (of, at): output for of, at, output in reader.rows(f"SELECT of, start_s, output_tok FROM bucket WHERE {inside}")
    }
    routes: dict[tuple[int, int], dict[str, float]] = {}
    for of, at, route, count in reader.rows(f"SELECT of, start_s, route, output_tok FROM bucket_route WHERE {inside}"):
        routes.setdefault((of, at), {})[route] = count
    energy: dict[tuple[int, int], dict[str, list[tuple[Any, ...]]]] = {}
    query = f"SELECT of, start_s, scope, basis, energy_j, half_width_j, idle_j FROM bucket_energy WHERE {inside}"
    for of, at, scope, *amounts in reader.rows(query):
        energy.setdefault((of, at), {}).setdefault(scope, []).append(tuple(amounts))
    return [
        _row(facts[of], at, scopes, tokens.get((of, at), 0.0), routes.get((of, at), {}))
        for (of, at), scopes in sorted(energy.items(), key=lambda item: (item[0][1], item[0][0]))
    ]


def _row(
    who: tuple[str, Mapping[str, Any]],
    start_s: int,
    scopes: Mapping[str, list[tuple[Any, ...]]],
    output_tok: float,
    routes: Mapping[str, float],
) -> BucketSpending:
    name, facts = who
    scope = next((s for s in SCOPES if s in scopes), next(iter(scopes)))
    amounts = scopes[scope]
    halves = [v for _, _, v, _ in amounts]
    return BucketSpending(
        target=name,
        model=facts["model"],
        site=facts["site"],
        start_s=float(start_s),
        energy_j=sum(j for _, j, _, _ in amounts),
        idle_j=sum(i for *_, i in amounts),
        output_tok=output_tok,
        basis=str(weakest(*(Basis(b) for b, *_ in amounts))),
        scope=scope,
        half_width_j=None if any(v is None for v in halves) else sum(halves),
        labels=facts["labels"],
        route_tok=dict(routes),
        site_j=sum(j for _, j, _, _ in scopes["site"]) if scope == "node" and "site" in scopes else None,
    )


def label_names(reader: Reader) -> set[str]:
    """Names of the labels that any target has."""
    return {name for row in reader.targets() for name in json.loads(row["facts"])["labels"]}


def refusals(reader: Reader, start_s: float, end_s: float) -> list[dict[str, Any]]:
    """What of ``[start_s, end_s)`` is not billed since its joules were refused: target, scope, code, text, seconds."""
    if "bucket_finding" not in reader.tables():
        return []  # of an earlier version
    inside = f"length_s = {HOUR_S} AND of > 0 AND start_s >= {float(start_s)} AND start_s < {float(end_s)}"
    rows = reader.rows(
        "SELECT name, scope, code, max(text), sum(found_s) FROM bucket_finding JOIN target ON of = target.id "
        f"WHERE {inside} AND refused "
        f"AND code NOT IN ({', '.join(repr(c) for c in sorted(ROUTINE))}) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    return [dict(zip(("target", "scope", "code", "text", "refused_s"), row, strict=True)) for row in rows]
