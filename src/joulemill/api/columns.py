"""Columns of a table, whichever library it is of: numbers as arrays, names as codes, results beside them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.errors import InputError

#: So many different names are told apart by the dataframe itself; more by a dictionary.
FEW = 64


class Table(ABC):
    """Named columns of ``count`` rows."""

    names: tuple[str, ...]
    count: int

    @abstractmethod
    def column(self, name: str) -> Any:
        """The column as it is kept."""

    @abstractmethod
    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        """The table with ``found`` beside its own columns, of the same kind as it came."""

    @abstractmethod
    def codes(self, name: str) -> tuple[list[Any], NDArray[np.intp]]:
        """Different values of a column, None where null, and the code of each row [count]; [1] for a single value."""

    @abstractmethod
    def value(self, name: str, row: int) -> Any:
        """One cell; None where null."""

    @abstractmethod
    def numbers(self, name: str) -> Array:
        """A column of numbers [count], NaN where null; [1] for a single value. InputError names row and column."""

    def stated(self, name: str, default: Any) -> NDArray[np.bool_]:
        """Rows whose cell is neither null nor the default."""
        values, codes = self.codes(name)
        return np.array([v is not None and v != default for v in values])[codes]


class Columns(Table):
    """A mapping of columns; a value that is no sequence is of all rows."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._given = dict(columns)
        self._columns = {name: _plain_column(str(name), column) for name, column in columns.items()}
        self._single = {n for n, v in self._columns.items() if isinstance(v, str) or not hasattr(v, "__len__")}
        lengths = {n: len(v) for n, v in self._columns.items() if n not in self._single}
        if len(set(lengths.values())) > 1:
            raise InputError(f"columns differ in length: {', '.join(f'{n} {k}' for n, k in lengths.items())}")
        self.names = tuple(map(str, columns))
        self.count = next(iter(lengths.values()), 1)

    def column(self, name: str) -> Any:
        """The column as it is kept."""
        return self._given[name]

    def with_columns(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """The mapping with ``found``."""
        return {**self._given, **columns}

    def codes(self, name: str) -> tuple[list[Any], NDArray[np.intp]]:
        """By a dictionary, or by sorting where the column is an array."""
        if name in self._single:
            return [_known(self._columns[name])], np.zeros(1, dtype=np.intp)
        return coded(self._columns[name])

    def value(self, name: str, row: int) -> Any:
        """One cell; None where null."""
        column = self._columns[name]
        return _known(column if name in self._single else column[row])

    def numbers(self, name: str) -> Array:
        """The column, or its single value."""
        column = self._columns[name]
        return as_numbers(name, [column] if name in self._single else column)


class Frame(Table):
    """A dataframe."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.names = tuple(frame.columns)
        self.count = len(frame)

    def column(self, name: str) -> Any:
        """The column as it is kept."""
        return self._frame[name]

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        """The dataframe with ``columns``; a column of its own of the same name is replaced. Unknown is null."""
        import narwhals as nw

        new = nw.from_dict({n: _nulled(v) for n, v in columns.items()}, backend=nw.get_native_namespace(self._frame))
        others = self._frame.drop([n for n in self._frame.columns if n in columns])
        index = nw.maybe_get_index(others)
        if index is not None:  # of pandas and its kin, which would join by it
            native = new.to_native()
            native.index = index
            new = nw.from_native(native, eager_only=True)
        return nw.concat([others, new], how="horizontal").to_native()

    def codes(self, name: str) -> tuple[list[Any], NDArray[np.intp]]:
        """By comparison with each of its values, where these are few."""
        column = self._frame[name]
        values = [v for v in column.unique().to_list() if _known(v) is not None]
        if len(values) > FEW:
            return coded(column.to_list())
        codes = np.full(self.count, len(values), dtype=np.intp)
        for code, value in enumerate(values):
            codes[np.asarray((column == value).fill_null(False).to_numpy(), dtype=bool)] = code
        return [*values, None], codes

    def value(self, name: str, row: int) -> Any:
        """One cell; None where null."""
        return _known(self._frame[name][row])

    def numbers(self, name: str) -> Array:
        """The column."""
        return as_numbers(name, self._frame[name].to_numpy())


def _plain_column(name: str, column: Any) -> Any:
    """A column of any library as an array or a list, or a single value. InputError where it has rows of rows."""
    if hasattr(column, "to_pylist"):  # of pyarrow, whose cells are no numbers of Python's
        return column.to_pylist()
    column = column.to_numpy() if hasattr(column, "to_numpy") else column
    dimensions = getattr(column, "ndim", 1)
    if dimensions > 1:
        raise InputError(f"column {name!r} has {dimensions} dimensions; give one value per row")
    return column if dimensions else column.item()


def mapped(columns: Mapping[str, Any]) -> Table:
    """A mapping as a table."""
    return Columns(columns)


def tabled(frame: Any) -> Table:
    """A dataframe as a table. InputError for what is none."""
    import narwhals as nw

    try:
        return Frame(nw.from_native(frame, eager_only=True))
    except TypeError as fault:
        raise InputError(
            f"{type(frame).__name__} is no table: give a dataframe (pandas, polars, pyarrow; collect a lazy one) or a "
            "mapping of columns"
        ) from fault


def coded(column: Any) -> tuple[list[Any], NDArray[np.intp]]:
    """Different values in order of appearance, None where null, and the code of each row."""
    few = _coded_array(column) if isinstance(column, np.ndarray) and column.dtype.kind in "USiufb" else None
    if few is not None:
        return few
    cells = column.tolist() if isinstance(column, np.ndarray) else column
    distinct = {cell: _known(cell) for cell in cells}
    index = {value: code for code, value in enumerate(dict.fromkeys(distinct.values()))}
    of_cell = {cell: index[value] for cell, value in distinct.items()}
    return list(index), np.fromiter(map(of_cell.__getitem__, cells), dtype=np.intp, count=len(cells))


def _coded_array(column: NDArray[Any]) -> tuple[list[Any], NDArray[np.intp]] | None:
    """``coded`` of an array, by comparison with each of its values; None where these are many."""
    codes = np.full(column.size, -1, dtype=np.intp)
    values: list[Any] = []
    first = 0
    while column.size and codes[first] < 0:
        if len(values) == FEW:
            return None
        value = column[first]
        codes[column == value if value == value else np.isnan(column)] = len(values)
        values.append(_known(value.item()))
        first = int(np.argmax(codes < 0))
    return values, codes


def as_numbers(name: str, column: Any) -> Array:
    """Numbers, NaN where null. InputError names the row whose cell is none."""
    try:
        if isinstance(column, np.ndarray) and column.dtype.kind in "fiu":
            return np.asarray(column, dtype=np.float64)
        if any(isinstance(v, (str, bool, np.bool_)) for v in column):
            raise ValueError(name)
        return np.array([np.nan if _known(v) is None else float(v) for v in column], dtype=np.float64)
    except (TypeError, ValueError):
        row = next(i for i, v in enumerate(column) if not _is_number(v))
        raise InputError(f"row {row}: `{name}` is {column[row]!r}; it must be a number") from None


def _is_number(value: Any) -> bool:
    if isinstance(value, (str, bool, np.bool_)):
        return False
    try:
        return _known(value) is None or float(value) is not None
    except (TypeError, ValueError):
        return False


def _known(value: Any) -> Any:
    """``value``; None for the nulls of any library (NaN, NaT, NA)."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return None if isinstance(value, float) and value != value else value


def _nulled(values: Any) -> Any:
    """An array of numbers whose NaN are null, where the library tells these apart; texts as a list."""
    if values.dtype == object:
        return values.tolist()
    return values if not np.isnan(values).any() else [None if v != v else v for v in values.tolist()]
