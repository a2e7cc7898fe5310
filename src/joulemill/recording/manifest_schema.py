"""What ``run.json`` may hold: the kinds of the members that the analysis reads. Others are passed over.

One table, checked by pydantic when a run is read, so that the analysis can trust the manifest. Members may be absent or
null; what is there must be of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from joulemill.errors import InputError
from joulemill.figure import Basis

#: No number of a run is larger; squares of it stay finite. Assumed.
MAX_NUMBER = 1e19
Number = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER, strict=True)]
Amount = Annotated[float, Field(ge=0.0, le=MAX_NUMBER, strict=True)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)]
#: Unix seconds up to the year 9999.
Moment = Annotated[float, Field(ge=0.0, le=2.5e11, strict=True)]
Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Table = dict[str, Any]  # not `strict`, which pydantic 2.8 cannot apply here; JSON has no other mapping


class Options(TypedDict, total=False):
    """The load and the server as asked."""

    concurrency: Count | None
    rate: Number | None
    rate_req_s: Number | None
    max_concurrency: Count | None
    at_once: Count | None
    duration_s: Number | None
    load_s: Number | None
    warmup_s: Amount | None
    idle_s: Amount | None
    slo_ttft_s: Amount | None
    slo_tpot_s: Amount | None
    shared_prefix_tok: Count | None
    threads: Count | None
    slots: Count | None
    draft_tok: Count | None
    requests: Count | None
    seed: int | None
    input_tokens: Text | None
    output_tokens: Text | None
    trace: Text | None
    strategy: Text | None
    url: Text | None
    model: Text | None
    kv_type: Text | None
    gguf: Text | None
    draft_gguf: Text | None
    quality: Text | None
    cache_prompt: Flag | None
    quality_stated: StatedQuality | None
    meters: list[Text] | None


class StatedQuality(TypedDict):
    """Accuracy that another tool found."""

    accuracy: Annotated[float, Field(ge=0.0, le=1.0, strict=True)]
    stderr: Annotated[float, Field(ge=0.0, le=1.0, strict=True)]
    questions: Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]


class Hardware(TypedDict, total=False):
    """The machine that the client ran on."""

    cpu: Text | None
    cpus: Count | None
    cpus_usable: Count | None
    memory_byte: Amount | None
    virtual: Flag | None


class DeviceTable(TypedDict, total=False):
    """The server's hardware as stated. ``count_assumed``: nobody said how many, and ``count`` is 1."""

    name: Text
    kind: Text | None
    count: Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)] | None
    count_assumed: Flag | None
    facts: Table | None


class ServerTable(TypedDict, total=False):
    """What the server said of itself."""

    url: Text | None
    kind: Text | None
    version: Text | None
    model: Text | None
    models: list[Text] | None
    embedded: Flag | None
    slots: Count | None
    max_context_tok: Count | None
    process: Table | None


class ModelTable(TypedDict, total=False):
    """The model that was served."""

    name: Text | None
    kv_type: Text | None
    threads: Count | None
    precision: Text | None
    served_by: Text | None
    gguf: GgufTable | None


class GgufTable(TypedDict, total=False):
    """The header of a GGUF file."""

    file: Text | None
    file_byte: Amount | None
    weight_byte: Amount | None
    weight_count: Amount | None
    metadata: Table | None
    tensors: list[Any] | None


class StoredCeiling(TypedDict):
    """One measured limit of the machine, as a figure."""

    value: Number
    low: Number | None
    high: Number | None
    unit: Text
    basis: Basis
    source: Text
    when: Text
    reason: NotRequired[Text | None]


class Ceilings(TypedDict):
    """The machine's measured limits."""

    compute_flop_s: StoredCeiling
    compute_int8_flop_s: StoredCeiling
    memory_bandwidth_byte_s: StoredCeiling


class SummaryTotals(TypedDict, total=False):
    """Tokens and requests of a run without single requests."""

    output_tok: Amount | None
    prompt_tok: Amount | None
    requests: Amount | None


class ManifestTable(TypedDict, total=False):
    """``run.json``."""

    created_wall_s: Moment | None
    joulemill_version: Text | None
    options: Options | None
    versions: dict[str, Text | None] | None
    machine: Hardware | None
    device: DeviceTable | None
    server: ServerTable | None
    model: ModelTable | None
    site: Table | None
    expected: dict[str, Count] | None
    machine_ceilings: Ceilings | None
    totals: SummaryTotals | None
    prompt_line: Table | None
    stated: list[Table] | None
    warnings: list[Text] | None
    precision: Text | None
    architecture: Table | None
    salt: Text | None


_MANIFEST: TypeAdapter[ManifestTable] = TypeAdapter(ManifestTable)


def check_kinds(document: Mapping[str, Any], where: str) -> None:
    """Raise InputError, naming the member, where ``document`` holds something of another kind than it must."""
    try:
        _MANIFEST.validate_python(dict(document))
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        member = ".".join(str(p) for p in first["loc"])
        raise InputError(f"{where}: {member}: {first['msg']}; is the file damaged?") from None
