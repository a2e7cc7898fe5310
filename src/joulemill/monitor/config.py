"""The monitor's configuration: one TOML file, checked as a whole before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from joulemill.errors import InputError
from joulemill.formats.toml_text import load_toml
from joulemill.monitor.config_checks import entries, fields_checked, plain, site_values, targets_checked
from joulemill.monitor.snapshot import SiteFacts, TargetFacts
from joulemill.units import parse_quantity

#: Keys of a site file → fields of ``SiteConfig``.
SITE_FIELDS = {
    "pue": "pue_ratio",
    "it_power_limit": "power_limit_w",
    "carbon_gco2e_kwh": "carbon_g_kwh",
    "price_currency_kwh": "price_kwh",
    "carbon_by_hour_gco2e_kwh": "carbon_by_hour_g_kwh",
    "price_by_hour_currency_kwh": "price_by_hour_kwh",
}
#: A period beyond a day is a slip (assumed).
MOST_S = 86_400.0

#: More boards than any deployment has (assumed); the command line's bound too.
MOST_DEVICES = 1_000_000
#: A target's labels, and characters of a name (assumed): Kubernetes allows 253 for its names.
MOST_LABELS, MOST_NAME_CHARS = 128, 400


def fit(text: str) -> str:
    """``text`` where it can be a name: of bounded length, of characters that can be shown and kept. Else ValueError."""
    if len(text) > MOST_NAME_CHARS:
        raise ValueError(f"a text of {len(text)} characters, at most {MOST_NAME_CHARS} are taken")
    if not text.replace("\u00a0", " ").isprintable():
        raise ValueError("must hold no control characters")
    return text


def http_address(url: str, credential: str) -> str:
    """``url`` where it is a http or https address without a password in it. Else ValueError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("must be a http:// or https:// address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("must be a http:// or https:// address")
    if "@" in parts.netloc:
        raise ValueError(f"must hold no password; name an environment variable in {credential}")
    return url


class SiteConfig(BaseModel):
    """A site as it states itself; what is left out stays unknown. ``*_by_hour_*``: 24 values, by hour (UTC).

    ``meters``: SPECs of scope site or rack; ``feeds_count``: meters of scope site that are added up (default: one).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str = Field(min_length=1)
    pue_ratio: float | None = Field(default=None, ge=1)
    pue_basis: str = "declared"
    carbon_g_kwh: float | None = Field(default=None, ge=0)
    price_kwh: float | None = Field(default=None, ge=0)
    currency: str | None = None
    power_limit_w: float | None = Field(default=None, gt=0)
    carbon_by_hour_g_kwh: tuple[float, ...] | None = Field(default=None, min_length=24, max_length=24)
    price_by_hour_kwh: tuple[float, ...] | None = Field(default=None, min_length=24, max_length=24)
    meters: tuple[str, ...] = ()
    feeds_count: int | None = Field(default=None, ge=1)

    @classmethod
    def read(cls, table: Mapping[str, Any], where: str, folder: Path) -> SiteConfig:
        """A ``[[site]]`` as it is written: the keys of a site file, which ``site_file`` may name. Raises InputError."""
        values = site_values(table, where, folder)
        return cls(**{SITE_FIELDS.get(k, k): v for k, v in values.items() if SITE_FIELDS.get(k, k) in cls.model_fields})

    def facts(self) -> SiteFacts:
        """The same as a plain value."""
        apart = ("name", "carbon_by_hour_g_kwh", "price_by_hour_kwh", "meters", "feeds_count")
        return SiteFacts(**{k: v for k, v in self.model_dump().items() if k not in apart}, site=self.name)


class TargetConfig(BaseModel):
    """One model server: where its metrics are, and what meters it (``meters`` are SPECs as of ``--meter``).

    ``here``: the server runs on this machine, so that its own sensors (``auto``) may meter it;
    ``server_pid`` is its process, for a power model where no sensor can be read. ``input_tok``,
    ``output_tok``: usual lengths of a request, for ceilings where the server does not count requests.
    ``node``: the server that holds its boards, where several targets share one and their exporter does not tell.
    ``slo_ttft``, ``slo_tpot``: its latency targets, with unit; ``own_model``: the model is not of the catalog.
    ``route_label``: the label of the server's own output counter that tells routes, tenants or adapters apart.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str = Field(min_length=1)
    metrics_url: str
    model: str = Field(min_length=1)
    site: str = "default"
    dialect: str | None = None
    meters: tuple[str, ...] = ()
    device: str | None = None
    devices_count: int | None = Field(default=None, ge=1, le=MOST_DEVICES)
    node: str | None = Field(default=None, min_length=1)
    token_env: str | None = None
    here: bool = False
    server_pid: int | None = Field(default=None, gt=0)
    input_tok: float | None = Field(default=None, gt=0)
    output_tok: float | None = Field(default=None, gt=0)
    labels: dict[str, str] = Field(default_factory=dict)
    route_label: str | None = None
    slo_ttft: str | None = None
    slo_tpot: str | None = None
    own_model: bool = False

    @field_validator("metrics_url")
    @classmethod
    def _http(cls, url: str) -> str:
        return http_address(url, "token_env")

    @field_validator("name", "model", "site")
    @classmethod
    def _names(cls, text: str) -> str:
        return fit(text)

    @field_validator("labels")
    @classmethod
    def _labels(cls, labels: dict[str, str]) -> dict[str, str]:
        if len(labels) > MOST_LABELS:
            raise ValueError(f"{len(labels)} labels, at most {MOST_LABELS} are taken")
        return {fit(k): fit(v) for k, v in labels.items()}

    @field_validator("slo_ttft", "slo_tpot", mode="before")
    @classmethod
    def _unit(cls, limit: object) -> object:
        if isinstance(limit, int | float):  # 200 ms and 200 s are both written so
            raise ValueError(f'= {limit:g} has no unit; write "{limit:g} ms" or "{limit:g} s"')
        return limit

    @model_validator(mode="after")
    def _targets(self) -> TargetConfig:
        try:
            limits_s = self.slo_s()
        except InputError as fault:
            raise ValueError(str(fault)) from None
        for name, limit_s in zip(("slo_ttft", "slo_tpot"), limits_s, strict=True):
            if limit_s is not None and not 0 < limit_s < MOST_S:
                raise ValueError(f'{name} must be more than 0, e.g. "200 ms"')
        return self

    def slo_s(self) -> tuple[float | None, float | None]:
        """The targets of TTFT and TPOT [s]."""
        ttft, tpot = (
            None if text is None else parse_quantity(text, "s", name=name)
            for name, text in (("slo_ttft", self.slo_ttft), ("slo_tpot", self.slo_tpot))
        )
        return ttft, tpot

    def facts(self) -> TargetFacts:
        """What later rooms may see of it: no address, no credential."""
        return TargetFacts(self.name, self.model, self.site, self.device, self.devices_count, dict(self.labels))


class DiscoverConfig(BaseModel):
    """Where more targets are told: a ``file`` that is read again, an ``http_sd_url``, or a ``kubernetes_url``.

    ``model`` and ``site`` stand where a document does not say them. ``token_env`` is for the targets' own pages; it is
    sent to hosts that ``allow_hosts`` names alone (addresses, networks, names, ``*.llm.svc``). ``meters``: SPECs by a
    target's name or host, since a document may name none. ``source_token_env`` or ``source_token_file`` and ``ca_file``
    are for the source itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    file: Path | None = None
    http_sd_url: str | None = None
    kubernetes_url: str | None = None
    refresh_s: float = Field(default=30.0, gt=0, le=MOST_S)
    model: str = "unknown"
    site: str = "default"
    path: str = "/metrics"
    port: int | None = Field(default=None, ge=1, le=65535)
    token_env: str | None = None
    allow_hosts: tuple[str, ...] = ()
    meters: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    source_token_env: str | None = None
    source_token_file: Path | None = None
    ca_file: Path | None = None

    @field_validator("http_sd_url", "kubernetes_url")
    @classmethod
    def _web(cls, url: str | None) -> str | None:
        return url if url is None else http_address(url, "source_token_env")

    @model_validator(mode="after")
    def _one(self) -> DiscoverConfig:
        sources = [x for x in (self.file, self.http_sd_url, self.kubernetes_url) if x is not None]
        if len(sources) != 1:
            raise ValueError("name one of file, http_sd_url and kubernetes_url")
        return self

    @property
    def where(self) -> str:
        """The source, for messages."""
        return str(self.file or self.http_sd_url or self.kubernetes_url)


class StoreConfig(BaseModel):
    """A Prometheus-compatible store that is read instead of scraping; ``match`` are more label matchers.

    Targets that the configuration does not name are taken as the store's instances. ``lookback_s``: how far back the
    first reading goes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    url: str = Field(pattern=r"^https?://[^@]+$")
    match: str = ""
    token_env: str | None = None
    model: str = "unknown"
    site: str = "default"
    lookback_s: float = Field(default=60.0, ge=0)


class MonitorConfig(BaseModel):
    """Everything. ``period_s``: between scrapes of one target; ``meter_period_s``: between reads of a meter.

    ``site_period_s``: the stretches over which a site's own meters are summed and its PUE is made.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    period_s: float = Field(default=10.0, gt=0, le=MOST_S)
    timeout_s: float = Field(default=5.0, gt=0, le=MOST_S)
    meter_period_s: float = Field(default=1.0, gt=0, le=MOST_S)
    site_period_s: float = Field(default=60.0, gt=0, le=MOST_S)
    site: tuple[SiteConfig, ...] = ()
    target: tuple[TargetConfig, ...] = ()
    discover: tuple[DiscoverConfig, ...] = ()
    store: StoreConfig | None = None

    @model_validator(mode="after")
    def _some(self) -> MonitorConfig:
        if not self.target and not self.discover and self.store is None:
            raise ValueError("there is nothing to watch; add a [[target]], a [[discover]] or a [store]")
        return self

    @model_validator(mode="after")
    def _once(self) -> MonitorConfig:
        for kind, names in (("target", [t.name for t in self.target]), ("site", [s.name for s in self.site])):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"two [[{kind}]] are called {twice[0]!r}; give each a name of its own")
        return self

    def sites(self, targets: Sequence[TargetConfig] | None = None) -> tuple[SiteFacts, ...]:
        """Every site that is described or that one of ``targets`` (default: those named here) is at."""
        facts_of_site = {s.name: s.facts() for s in self.site}
        used = {t.site for t in (self.target if targets is None else targets)}
        return tuple(facts_of_site.get(n, SiteFacts(site=n)) for n in sorted({*facts_of_site, *used}))


def load_config(path: Path) -> MonitorConfig:
    """Read ``path``. Raises InputError with one line that names the file, the entry and what is wrong in it."""
    tables: dict[str, Any] = {}
    try:
        tables = load_toml(path.read_bytes())
        return _config(tables, path.parent)
    except OSError as fault:
        raise InputError(f"{path}: cannot be read: {fault.strerror}") from None
    except RecursionError:
        raise InputError(f"{path}: it is nested too deep") from None
    except (ValueError, InputError) as fault:
        raise InputError(f"{path}: {plain(fault, tables) if isinstance(fault, ValueError) else fault}") from None


def _config(tables: Mapping[str, Any], folder: Path) -> MonitorConfig:
    fields_checked(tables, MonitorConfig, "the file")
    for kind, model in (("target", TargetConfig), ("discover", DiscoverConfig)):
        for where, entry in entries(tables, kind):
            fields_checked(entry, model, where)
    if isinstance(tables.get("store"), Mapping):
        fields_checked(tables["store"], StoreConfig, "[store]")
    sites = tuple(SiteConfig.read(entry, where, folder) for where, entry in entries(tables, "site"))
    config = MonitorConfig.model_validate({**tables, "site": sites})
    targets_checked(config.target, [s.name for s in sites])
    return config


def first_fault(fault: ValueError) -> str:
    """The first thing that a model refused, as "where: what"."""
    return plain(fault)
