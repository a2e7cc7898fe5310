"""Shapes of the published schemas that exports are held to: the parts that are written, and what they demand.

Written from the schemas, strict where they are strict (``additionalProperties: false``):
CycloneDX 1.6   https://cyclonedx.org/schema/bom-1.6.schema.json (energyConsumption, energyProvider, energyMeasure, …)
llm-d           llm-d/llm-d-benchmark, llmdbenchmark/analysis/benchmark_report/br_v0_2_1_json_schema.json
Croissant 1.1   https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html (dataset, files, records)
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


# --- CycloneDX 1.6
class EnergyMeasure(Strict):
    value: float
    unit: Literal["kWh"]


class Co2Measure(Strict):
    value: float
    unit: Literal["tCO2eq"]


class Organization(Strict):
    name: str


class EnergyProvider(Strict):
    organization: Organization
    energySource: Literal[
        "coal",
        "oil",
        "natural-gas",
        "nuclear",
        "wind",
        "solar",
        "geothermal",
        "hydropower",
        "biofuel",
        "unknown",
        "other",
    ]
    energyProvided: EnergyMeasure


class Property(Strict):
    name: str
    value: str


class EnergyConsumption(Strict):
    activity: Literal["design", "data-collection", "training", "fine-tuning", "validation", "deployment", "inference"]
    energyProviders: list[EnergyProvider]
    activityEnergyCost: EnergyMeasure
    co2CostEquivalent: Co2Measure | None = None
    properties: list[Property]


class Environmental(Strict):
    energyConsumptions: list[EnergyConsumption]


class Considerations(Strict):
    environmentalConsiderations: Environmental


class ModelCard(Strict):
    considerations: Considerations


class Component(Strict):
    type: Literal["machine-learning-model"]
    bom_ref: Annotated[str, Field(alias="bom-ref", min_length=1)]
    name: str
    version: str | None = None
    modelCard: ModelCard


class Bom(Strict):
    schema_: Annotated[Literal["http://cyclonedx.org/schema/bom-1.6.schema.json"], Field(alias="$schema")]
    bomFormat: Literal["CycloneDX"]
    specVersion: Literal["1.6"]
    serialNumber: Annotated[
        str, Field(pattern=r"^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
    ]
    version: Annotated[int, Field(ge=1)]
    components: list[Component]


# --- llm-d Benchmark Report 0.2.1
class Statistics(Open):
    units: Literal["count", "ms", "s", "ms/token", "s/token", "tokens/s", "queries/s", "Watts"]
    mean: float
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class LlmdLatency(Strict):
    time_to_first_token: Statistics | None = None
    normalized_time_per_output_token: Statistics | None = None
    time_per_output_token: Statistics | None = None
    inter_token_latency: Statistics | None = None
    request_latency: Statistics | None = None


class LlmdThroughput(Strict):
    input_token_rate: Statistics | None = None
    output_token_rate: Statistics | None = None
    total_token_rate: Statistics | None = None
    request_rate: Statistics | None = None


class LlmdRequests(Strict):
    total: Annotated[int, Field(ge=0)]
    failures: Annotated[int, Field(ge=0)] | None = None
    incomplete: Annotated[int, Field(ge=0)] | None = None


class LlmdAggregate(Strict):
    requests: LlmdRequests | None = None
    latency: LlmdLatency | None = None
    throughput: LlmdThroughput | None = None


class LlmdRequestPerformance(Strict):
    aggregate: LlmdAggregate | None = None


class LlmdResources(Strict):
    power_consumption: Statistics | None = None


class LlmdComponentObservability(Strict):
    component_label: str
    aggregate: LlmdResources | None = None


class LlmdObservability(Open):
    components: list[LlmdComponentObservability] | None = None


class LlmdResults(Strict):
    request_performance: LlmdRequestPerformance | None = None
    observability: LlmdObservability | None = None


class LlmdTime(BaseModel):
    model_config = ConfigDict(extra="forbid")
    start: datetime | None = None


class LlmdRun(Strict):
    uid: str
    time: LlmdTime | None = None


class LlmdGeneric(Open):
    kind: Literal["generic"]
    tool: str
    tool_version: str


class LlmdMetadata(Strict):
    label: str
    cfg_id: str


class LlmdNative(Strict):
    args: dict[str, Any] | None = None


class LlmdComponent(Strict):
    metadata: LlmdMetadata
    standardized: LlmdGeneric
    native: LlmdNative


class LlmdScenario(Strict):
    stack: list[LlmdComponent] | None = None


class LlmdReport(Strict):
    version: Literal["0.2.1"]
    run: LlmdRun
    scenario: LlmdScenario | None = None
    results: LlmdResults


# --- Croissant 1.1
class Reference(Strict):
    id: Annotated[str, Field(alias="@id")]


class Extract(Strict):
    column: str


class Source(Strict):
    fileObject: Reference
    extract: Extract


class CroissantField(Strict):
    type: Annotated[Literal["cr:Field"], Field(alias="@type")]
    id: Annotated[str, Field(alias="@id")]
    name: str
    description: str
    dataType: Literal["sc:Text", "sc:Integer", "sc:Float", "sc:Boolean"]
    source: Source


class RecordSet(Strict):
    type: Annotated[Literal["cr:RecordSet"], Field(alias="@type")]
    id: Annotated[str, Field(alias="@id")]
    name: str
    field: list[CroissantField]


class FileObject(Strict):
    type: Annotated[Literal["cr:FileObject"], Field(alias="@type")]
    id: Annotated[str, Field(alias="@id")]
    name: str
    contentUrl: Annotated[str, Field(pattern="^https?://")]
    contentSize: str
    encodingFormat: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Creator(Strict):
    type: Annotated[Literal["sc:Organization", "sc:Person"], Field(alias="@type")]
    name: str


class Dataset(Strict):
    context: Annotated[dict[str, Any], Field(alias="@context")]
    type: Annotated[Literal["sc:Dataset"], Field(alias="@type")]
    conformsTo: Literal["http://mlcommons.org/croissant/1.1"]
    name: str
    description: str
    license: str
    url: str
    creator: Creator
    datePublished: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    distribution: list[FileObject]
    recordSet: list[RecordSet]
