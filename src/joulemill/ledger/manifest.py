"""What a run states of itself (``run.json``): what was asked, of what, on what. Values, without files.

Each part is a dataclass whose fields are the members of the file. Members that this version does not know are kept in
``others`` and written again as they were, and what the file says is unknown (null) stays said: a run that is read and
written is the same file. The bounds of a number stand in its type; ``recording.manifest_schema`` holds files to them.
Names of members are those of version 1 of the file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import UnionType
from typing import Annotated, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from joulemill.figure import Basis, Figure

#: No number of a run is larger; squares of it stay finite. Assumed.
MAX_NUMBER = 1e19


@dataclass(frozen=True)
class Bounds:
    """From where to where a number of the file may lie, both included."""

    low: float = -MAX_NUMBER
    high: float = MAX_NUMBER


Number = Annotated[float, Bounds()]
Amount = Annotated[float, Bounds(0.0)]
Share = Annotated[float, Bounds(0.0, 1.0)]
Count = Annotated[int, Bounds(0, 1_000_000_000)]
Positive = Annotated[int, Bounds(1, 1_000_000_000)]
#: Unix seconds up to the year 9999.
Moment = Annotated[float, Bounds(0.0, 2.5e11)]
#: A table whose names are others': a site file, a config.json, a header.
Table = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class ManifestPart:
    """A table of the manifest.

    others    members that this version does not know, as they stand in the file
    members   those that stand in the file, null ones too, in their order; what is unknown is left out of a new part.
              None: all stand in it
    """

    others: Table = field(default_factory=dict)
    members: tuple[str, ...] | None = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class TaskAccuracy(ManifestPart):
    """One task of a set that another tool asked."""

    accuracy: Number | None = None
    stderr: Number | None = None
    questions: Count | None = None
    metric: str | None = None


@dataclass(frozen=True, kw_only=True)
class StatedQuality(ManifestPart):
    """Accuracy that another tool found, with its standard error."""

    tool: str | None = None
    file: str | None = None
    model: str | None = None
    tool_version: str | None = None
    accuracy: Share
    stderr: Share
    questions: Positive
    tasks: Mapping[str, TaskAccuracy] | None = None


@dataclass(frozen=True, kw_only=True)
class RunOptions(ManifestPart):
    """The load and the server as asked (``bench.options.BenchOptions``), and as other tools' files say them.

    rate, max_concurrency, at_once, strategy   of imported runs: requests per second, most in flight, all at once
    """

    url: str | None = None
    model: str | None = None
    api: str | None = None
    gguf: str | None = None
    threads: Count | None = None
    slots: Count | None = None
    context_tok: Count | None = None
    kv_type: str | None = None
    cache_prompt: bool | None = None
    draft_gguf: str | None = None
    draft_tok: Count | None = None
    concurrency: Count | None = None
    rate: Number | None = None
    rate_req_s: Number | None = None
    max_concurrency: Count | None = None
    at_once: Count | None = None
    strategy: str | None = None
    burstiness: Number | None = None
    trace: str | None = None
    duration_s: Number | None = None
    load_s: Number | None = None
    loop: str | None = None
    requests: Count | None = None
    warmup_s: Amount | None = None
    idle_s: Amount | None = None
    input_tokens: str | None = None
    output_tokens: str | None = None
    shared_prefix_tok: Count | None = None
    seed: int | None = None
    timeout_s: Number | None = None
    retries: Count | None = None
    meters: tuple[str, ...] | None = None
    sample_period_s: Number | None = None
    site_path: str | None = None
    slo_ttft_s: Amount | None = None
    slo_tpot_s: Amount | None = None
    quality: str | None = None
    quality_stated: StatedQuality | None = None
    turns: Count | None = None
    metrics_url: str | None = None
    headers: tuple[str, ...] | None = None
    precision: str | None = None
    architecture_path: str | None = None

    @property
    def open_loop(self) -> bool:
        """Whether requests come at a rate or by a trace, whatever the server does."""
        return self.rate is not None or self.rate_req_s is not None or bool(self.trace)


@dataclass(frozen=True, kw_only=True)
class ClientMachine(ManifestPart):
    """The machine that the client ran on, and the embedded server where there was one."""

    cpu: str | None = None
    cpus: Count | None = None
    cpus_usable: Count | None = None
    memory_byte: Amount | None = None
    system: str | None = None
    kernel: str | None = None
    architecture: str | None = None
    virtual: bool | None = None


@dataclass(frozen=True, kw_only=True)
class StatedDevice(ManifestPart):
    """The server's hardware as stated.

    count_assumed   nobody said how many, and ``count`` is 1
    facts           the user's own file of a device that is not in the catalog
    """

    name: str = ""
    kind: str | None = None
    count: Positive | None = None
    count_assumed: bool | None = None
    facts: Table | None = None


@dataclass(frozen=True, kw_only=True)
class ServingProcess(ManifestPart):
    """The server's process where it runs on the client's machine, and how it is known."""

    pid: int | None = None
    name: str | None = None
    known: str | None = None


@dataclass(frozen=True, kw_only=True)
class ServerDescription(ManifestPart):
    """What the server said of itself; ``ignore_eos``: it can be told to answer at the length that was asked."""

    url: str | None = None
    api: str | None = None
    embedded: bool | None = None
    kind: str | None = None
    version: str | None = None
    model: str | None = None
    models: tuple[str, ...] | None = None
    max_context_tok: Count | None = None
    metrics_url: str | None = None
    slots: Count | None = None
    ignore_eos: bool | None = None
    process: ServingProcess | None = None


@dataclass(frozen=True, kw_only=True)
class GgufDescription(ManifestPart):
    """The header of a GGUF file; ``tensors``: name, shape, type and bytes of each."""

    file: str | None = None
    file_byte: Amount | None = None
    weight_byte: Amount | None = None
    weight_count: Amount | None = None
    metadata: Table | None = None
    tensors: tuple[object, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ModelDescription(ManifestPart):
    """The model that was served."""

    name: str | None = None
    kv_type: str | None = None
    gguf: GgufDescription | None = None
    sha256: str | None = None
    precision: str | None = None
    threads: Count | None = None
    served_by: str | None = None
    architecture: str | None = None


@dataclass(frozen=True, kw_only=True)
class MeasuredLimit(ManifestPart):
    """One measured limit of the machine."""

    value: Number
    low: Number | None
    high: Number | None
    unit: str
    basis: Basis
    source: str
    when: str
    reason: str | None = None

    def figure(self) -> Figure:
        """As a figure, with the time of the measurement in its source."""
        source = f"{self.source}, {self.when}"
        return Figure(
            self.value, self.unit, self.basis, low=self.low, high=self.high, reason=self.reason, source=source
        )


@dataclass(frozen=True, kw_only=True)
class MachineLimits(ManifestPart):
    """The machine's measured limits (``bench.machine.microbenchmark``); ``machine`` what it is."""

    compute_flop_s: MeasuredLimit
    compute_int8_flop_s: MeasuredLimit
    memory_bandwidth_byte_s: MeasuredLimit
    machine: Table | None = None


@dataclass(frozen=True, kw_only=True)
class SummaryTotals(ManifestPart):
    """Tokens and requests of a run without single requests."""

    output_tok: Amount | None = None
    prompt_tok: Amount | None = None
    requests: Amount | None = None


@dataclass(frozen=True, kw_only=True)
class PromptSizes(ManifestPart):
    """How many tokens a prompt of so many words had: the chat template's, and those of a word."""

    overhead_tok: Number | None = None
    tok_word: Number | None = None


@dataclass(frozen=True, kw_only=True)
class StatedEntry(ManifestPart):
    """A figure that an imported file states."""

    name: str | None = None
    value: Number | None = None
    unit: str | None = None
    basis: str | None = None
    source: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImportedFile(ManifestPart):
    """A file that was imported, and the hash of its content."""

    name: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImportedFrom(ManifestPart):
    """Which tool made the run."""

    tool: str | None = None
    tool_version: str | None = None
    files: tuple[ImportedFile, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest(ManifestPart):
    """``run.json``, resolved before the load starts.

    salt               what the prompts' texts were drawn with
    versions           of programs and libraries that bear on the figures
    site               the site's file as the user wrote it (``catalog.sites``); architecture  the config.json, parsed
    expected           how many things each scope should have
    machine_ceilings   of the embedded server's machine
    totals, stated, imported, warnings   of an imported run
    simulated          deployment, policy and router of a simulated run
    """

    schema_version: int = 1
    joulemill_version: str | None = None
    created_wall_s: Moment | None = None
    imported: ImportedFrom | None = None
    simulated: Table | None = None
    salt: str | None = None
    options: RunOptions | None = None
    versions: Mapping[str, str | None] | None = None
    machine: ClientMachine | None = None
    server: ServerDescription | None = None
    model: ModelDescription | None = None
    device: StatedDevice | None = None
    site: Table | None = None
    expected: Mapping[str, Count] | None = None
    precision: str | None = None
    architecture: Table | None = None
    machine_ceilings: MachineLimits | None = None
    prompt_line: PromptSizes | None = None
    stated: tuple[StatedEntry, ...] | None = None
    totals: SummaryTotals | None = None
    warnings: tuple[str, ...] | None = None

    @property
    def asked(self) -> RunOptions:
        """The options; empty ones where the run has none."""
        return self.options or RunOptions()

    @property
    def embedded(self) -> bool:
        """Whether the server was Joulemill's own."""
        return self.server is not None and bool(self.server.embedded)

    @property
    def cpus(self) -> int | None:
        """CPUs of the client's machine."""
        return self.machine.cpus if self.machine else None

    @property
    def threads(self) -> int | None:
        """Threads of the embedded server."""
        return self.model.threads if self.model else None

    @property
    def device_count(self) -> int:
        """Devices of the server; 1 where nobody said."""
        return (self.device.count or 1) if self.device else 1


P = TypeVar("P", bound=ManifestPart)
_OWN = ("others", "members")


def document(part: ManifestPart) -> dict[str, object]:
    """``part`` as JSON types: the members of its file in their order, then what was stated since."""
    known = {f.name: (getattr(part, f.name), _default(f.default)) for f in fields(part) if f.name not in _OWN}
    first = tuple(known) if part.members is None else part.members
    stated = [n for n, (value, default) in known.items() if n not in first and value != default]
    new = [n for n in part.others if n not in first]
    return {n: _plain(known[n][0] if n in known else part.others[n]) for n in (*first, *stated, *new)}


def _default(value: object) -> object:
    return None if value is MISSING else value


def _plain(value: object) -> object:
    if isinstance(value, ManifestPart):
        return document(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def part_of(kind: type[P], members: Table) -> P:
    """A table of a file that was checked as the part that it is."""
    hints = _hints(cast(Hashable, kind))
    known = {n: _value(v, hints[n]) for n, v in members.items() if n in hints}
    others = {n: v for n, v in members.items() if n not in hints}
    return kind(**known, others=others, members=tuple(members))


@cache
def _hints(kind: Hashable) -> dict[str, object]:
    part: type[ManifestPart] = kind  # type: ignore[assignment]
    hints = get_type_hints(part)
    return {f.name: hints[f.name] for f in fields(part) if f.name not in _OWN}


def _value(value: object, hint: object) -> object:
    """A member by its type: tables become parts, lists tuples; anything else stays as it is."""
    options: Iterable[object] = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kind = next(o for o in options if o is not type(None))
    if isinstance(kind, type) and issubclass(kind, ManifestPart) and isinstance(value, Mapping):
        return part_of(kind, value)
    if kind is Basis and isinstance(value, str):
        return Basis(value)
    inner = get_args(kind)
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_value(v, inner[0]) for v in value)
    if isinstance(value, Mapping) and inner:
        return {k: _value(v, inner[1]) for k, v in value.items()}
    return value
