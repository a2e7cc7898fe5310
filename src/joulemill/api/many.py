"""``joulemill.predict_many``: a table of deployments in, the same kind of table out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from joulemill.api.columns import Table, mapped, tabled
from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.prediction.many import DEVICE_CEILINGS, FIGURES, NUMBERS, OUTPUTS, compiled, predicted
from joulemill.prediction.predict import answer
from joulemill.prediction.question import BOUNDS, COUNTS, VALUES, WHOLE, PredictionRequest
from joulemill.suggestions import meant, nearest

ARGUMENTS = tuple(f.name for f in fields(PredictionRequest) if f.name not in VALUES)
#: Numbers that need a search, or a site: such rows are predicted one by one.
SEARCHED = ("rate_req_s", "slo_ttft_s", "slo_tpot_s", "max_num_seqs", "clock_ratio", "clock_hz", "site", "calibration")
#: Arguments of ``predict_many`` that are no columns.
OWN_ARGUMENTS = ("errors", "bottleneck")
DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(PredictionRequest) if f.name not in ("model", "device")}
#: Arguments that name a deployment: rows that agree in them are predicted together.
NAMES = tuple(a for a in ARGUMENTS if a not in NUMBERS and a not in SEARCHED)


def predict_many(
    table: Any, *, errors: Literal["raise", "null"] = "raise", bottleneck: bool = True, **common: Any
) -> Any:
    """Predict every row of ``table``: a dataframe (pandas, polars, pyarrow …) or a mapping of columns.

    table       columns are arguments of ``predict``, ``model`` and ``device`` among them; a mapping may hold single
                values, which are of all rows. A null cell, NaN too, is the argument left out. Other columns are kept
    errors      what a row that cannot be predicted does: "raise" InputError that names row and column; or "null":
                its figures are null, and a column ``error`` says why
    bottleneck  whether the active constraint is told as well
    common      arguments that are the same for all rows

    The result has the columns of ``table`` and rate_tok_s, device_j_tok, node_j_tok, device_power_w, node_power_w,
    ttft_s and tpot_s, each with its 80 % interval in ``…_low`` and ``…_high``; unknown is null. Rows that state
    ``concurrency`` and no target, rate or site are computed together, a million a second and core.
    """
    if errors not in ("raise", "null"):
        raise InputError(f"`errors` is {errors!r}; use raise or null")
    asked = mapped(table) if isinstance(table, Mapping) else tabled(table)
    _check_names(asked, common, computed=_computed(bottleneck=bottleneck, raising=errors == "raise"))
    work = _Work(asked, common, raising=errors == "raise", bottleneck=bottleneck)
    return asked.with_columns(work.done())


def _computed(*, bottleneck: bool, raising: bool) -> set[str]:
    """Names of the columns that the result has beside those of the table."""
    return {*OUTPUTS, *(["bottleneck"] * bottleneck), *(["error"] * (not raising))}


def _check_names(table: Table, common: Mapping[str, Any], *, computed: set[str]) -> None:
    for name in common:
        if name not in ARGUMENTS:
            raise InputError(f"predict_many has no argument {name!r}; {meant(name, (*OWN_ARGUMENTS, *ARGUMENTS))}")
    taken = next((name for name in table.names if name in computed), None)
    if taken is not None:
        raise InputError(f"column {taken!r} has the name of a column of the result; rename it, or leave it out")
    near = {name: nearest(name, ARGUMENTS) for name in table.names if name not in ARGUMENTS}
    wrong = next((name for name, near_name in near.items() if near_name and near_name[0] not in table.names), None)
    if wrong is not None:
        raise InputError(f"column {wrong!r} is no argument of predict; did you mean {near[wrong][0]}?")
    missing = next((n for n in ("model", "device") if n not in table.names and n not in common), None)
    if missing is not None:
        raise InputError(f"column {missing!r} is missing: name it in each row, or as an argument for all")


@dataclass(frozen=True)
class _Group:
    """Rows of one deployment: its arguments, and where its rows are."""

    arguments: Mapping[str, Any]
    rows: slice | NDArray[np.intp]


class _Work:
    """The columns of the result, filled group by group."""

    def __init__(self, table: Table, common: Mapping[str, Any], *, raising: bool, bottleneck: bool) -> None:
        self.table, self.common, self.raising, self.bottleneck = table, common, raising, bottleneck
        self.out: dict[str, Array] = {name: np.empty(table.count) for name in OUTPUTS}
        self.binding = np.full(table.count, -1, dtype=np.intp)
        self.why: dict[int, str] = {}

    def done(self) -> dict[str, Any]:
        """Every column of the result."""
        numbers = {name: self._numbers(name) for name in NUMBERS}
        searched = self._searched(numbers)
        for group in self._groups(searched) if self.table.count else ():
            if searched[group.rows].any() if searched.size > 1 else searched[0]:
                self._one_by_one(group, numbers)
            else:
                self._together(group, numbers)
        columns: dict[str, Any] = dict(self.out)
        if self.bottleneck:
            names = np.array([*DEVICE_CEILINGS, *self.others, None], dtype=object)
            columns["bottleneck"] = names[self.binding]
        if not self.raising:
            columns["error"] = np.array([self.why.get(i) for i in range(self.table.count)], dtype=object)
        return columns

    others: tuple[str, ...] = ("power", "cooling", "latency", "demand", "undecided", "unknown")

    def _numbers(self, name: str) -> Array:
        """A column of numbers [count] or, where it is the same for all, [1]; NaN where null, or the default."""
        default = DEFAULTS[name]
        values = self.table.numbers(name) if name in self.table.names else self._common_number(name)
        if default is not None and (null := np.isnan(values)).any():
            values = np.where(null, default, values)
        least, most = BOUNDS[name] if name in BOUNDS else (1.0, float(COUNTS[name]))
        wrong = ~((values >= least) & (values <= most)) & ~np.isnan(values)
        if wrong.any():
            row = int(np.argmax(wrong))
            text = f"`{name}` is {values[row]:g}; it must lie between {least:g} and {most:,g}"
            self._refuse(np.flatnonzero(wrong) if values.size > 1 else np.arange(self.table.count), text)
            values = np.where(wrong, np.nan if default is None else default, values)
        return values

    def _common_number(self, name: str) -> Array:
        value = self.common.get(name, DEFAULTS[name])
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
            raise InputError(f"`{name}` is {value!r}; it must be a number")
        return np.array([np.nan if value is None else float(value)])

    def _searched(self, numbers: Mapping[str, Array]) -> NDArray[np.bool_]:
        """Rows that are predicted one by one."""
        rows = np.isnan(numbers["concurrency"])
        for name in SEARCHED:
            if name in self.table.names:
                rows = rows | self.table.stated(name, DEFAULTS[name])
            elif self.common.get(name, DEFAULTS[name]) != DEFAULTS[name]:
                rows = np.ones(1, dtype=bool)
        return rows

    def _groups(self, searched: NDArray[np.bool_]) -> Iterator[_Group]:
        """Rows that share their names; those that are searched apart from those that are not."""
        keys = [name for name in NAMES if name in self.table.names]
        fixed = {name: self.common.get(name, DEFAULTS.get(name)) for name in NAMES if name not in keys}
        coded = [self.table.codes(name) for name in keys]
        codes, size = np.zeros(1, dtype=np.intp), 1
        for values, code in coded:
            codes, size = codes * len(values) + code, size * len(values)
        if searched.any() and not searched.all():
            codes, size = codes * 2 + searched, size * 2
        if codes.size == 1:
            yield _Group(fixed | {k: v[0] for k, (v, _) in zip(keys, coded, strict=True)}, slice(0, self.table.count))
            return
        for rows in _parted(codes, size):
            first = rows if isinstance(rows, slice) else rows[0]
            at = 0 if isinstance(first, slice) else int(first)
            named = {k: v[int(c[at]) if c.size > 1 else 0] for k, (v, c) in zip(keys, coded, strict=True)}
            yield _Group(fixed | named, rows)

    def _together(self, group: _Group, numbers: Mapping[str, Array]) -> None:
        count = self.table.count if isinstance(group.rows, slice) else len(group.rows)
        try:
            plant = compiled(_request(group.arguments))
        except InputError as fault:
            self._refuse(_index(group.rows, self.table.count), str(fault))
            self._blank(group.rows)
            return
        mine = {n: v[group.rows] if v.size > 1 else v for n, v in numbers.items()}
        whole = isinstance(group.rows, slice)
        figures = self.out if whole else {name: np.empty(count) for name in OUTPUTS}
        for part, remarks in predicted(plant, mine, figures, bottleneck=self.bottleneck):
            rows = part if isinstance(group.rows, slice) else group.rows[part]
            if remarks.bottleneck is not None:
                self.binding[rows] = remarks.bottleneck
            for text, wrong in remarks.faults.items():
                at = np.flatnonzero(wrong) + part.start
                self._refuse(at if isinstance(group.rows, slice) else group.rows[at], text)
        if not whole:
            for name, values in figures.items():
                self.out[name][group.rows] = values
        self._blank_refused()

    def _one_by_one(self, group: _Group, numbers: Mapping[str, Array]) -> None:
        names = [*DEVICE_CEILINGS, *self.others]
        for row in _index(group.rows, self.table.count).tolist():
            stated = {n: v[row if v.size > 1 else 0] for n, v in numbers.items()}
            more = {n: self.table.value(n, row) if n in self.table.names else self.common.get(n) for n in SEARCHED}
            arguments = {**group.arguments} | {n: float(v) for n, v in stated.items() if not np.isnan(v)} | more
            try:
                result = answer(_request(arguments)).prediction
            except InputError as fault:
                self._refuse(np.array([row]), str(fault))
                self._blank(np.array([row]))
                continue
            for name in FIGURES:
                figure = getattr(result, name)
                for end, value in (("", figure.value), ("_low", figure.low), ("_high", figure.high)):
                    self.out[f"{name}{end}"][row] = np.nan if value is None else value
            self.binding[row] = names.index(result.binding.name)

    def _refuse(self, rows: NDArray[np.intp], text: str) -> None:
        if self.raising:
            raise InputError(f"row {int(rows[0])}: {text}")
        for row in rows.tolist():
            self.why.setdefault(row, text)

    def _blank(self, rows: slice | NDArray[np.intp]) -> None:
        for column in self.out.values():
            column[rows] = np.nan
        self.binding[rows] = -1

    def _blank_refused(self) -> None:
        if self.why:
            self._blank(np.fromiter(self.why, dtype=np.intp))


def _request(arguments: Mapping[str, Any]) -> PredictionRequest:
    """What a row asks. Raises InputError where it names no model or device."""
    stated = _stated_arguments(arguments)
    lacking = next((name for name in ("model", "device") if name not in stated), None)
    if lacking is not None:
        raise InputError(f"`{lacking}` is null; every row needs one")
    return PredictionRequest(**stated)


def _stated_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that are stated, as the question takes them."""
    stated = {n: v for n, v in arguments.items() if v is not None and not (isinstance(v, float) and np.isnan(v))}
    whole = WHOLE
    paths = ("model", "device", "site", "calibration", "draft_model", "node")
    return {n: int(v) if n in whole and v == int(v) else str(v) if n in paths else v for n, v in stated.items()}


def _parted(codes: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    """Indices of the rows of each code, in order."""
    narrow = codes.astype(np.uint16) if size <= 1 << 16 else codes  # sorted by radix, in one pass
    order = np.argsort(narrow, kind="stable")
    edges = np.flatnonzero(np.diff(narrow[order])) + 1
    yield from np.split(order, edges)


def _index(rows: slice | NDArray[np.intp], count: int) -> NDArray[np.intp]:
    return np.arange(count) if isinstance(rows, slice) else rows


__all__: Sequence[str] = ["predict_many"]
