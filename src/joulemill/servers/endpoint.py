"""Where a server is and what it says of itself before a run: models, version, context, where its metrics are.

Servers differ in which of ``/props``, ``/version``, ``/info`` they have; what they lack stays None.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

import aiohttp

from joulemill.errors import InputError, JoulemillError, ServerError
from joulemill.formats.plain_text import MAX_NAME_CHARS, plain_name, plain_text, secrets_of
from joulemill.servers.boundary import from_source, read_in_thread
from joulemill.servers.metrics import READ_S, detect_dialect, parse_metrics
from joulemill.servers.transcript import error_text

UNKNOWN = "unknown"
#: Dialects of counters whose server has another name as a kind.
KIND_OF_DIALECT = {"llamacpp": "llama.cpp"}
#: Which extensions of the OpenAI API a server is known to take.
TAKES_IGNORE_EOS = frozenset({"llama.cpp", "vllm", "sglang"})
PROBE_TIMEOUT_S = 10.0
MAX_PROBE_BYTE = 8 << 20
MAX_SHOWN_CHARS = 80
#: Names of models that are kept in the manifest; a gateway may have thousands.
MOST_NAMES = 200
_ASKED = re.compile(r"/(chat/completions|completions|models)$")
_VERSION = re.compile(r"/v\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An OpenAI-compatible API. ``url`` may be given with or without ``/v1``; it is kept with it.

    ``model`` "" stands for the only model that is served. ``api`` is "chat" or "completions". ``extra_headers`` and
    the key go to the API's own address alone; ``extra_body`` into the JSON of each question; ``metrics`` is where the
    server's counters are, where that is not beside the API. Raises InputError for a URL that cannot be one.
    """

    url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    api: str = "chat"
    extra_headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    metrics: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _normal(self.url))
        if self.metrics is not None:
            _plain_address(self.metrics, "`metrics_url`", "http://127.0.0.1:8000/metrics")
        if self.api not in ("chat", "completions"):
            raise InputError(f"api {self.api!r} is unknown; use 'chat' or 'completions'")

    @property
    def root_url(self) -> str:
        """The server itself, without the API's version: where /metrics and /health are."""
        return _VERSION.sub("", self.url)

    @property
    def ask_url(self) -> str:
        """Where questions go."""
        return self.url + ("/chat/completions" if self.api == "chat" else "/completions")

    def headers(self, url: str | None = None) -> dict[str, str]:
        """The key, where there is one, and the headers asked for. None of them for a ``url`` of another address."""
        if url is not None and _origin(url) != _origin(self.url):
            return {}
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {**dict(self.extra_headers), **key}

    @property
    def secrets(self) -> tuple[str, ...]:
        """What the server may send back and nobody may keep."""
        return secrets_of(self.api_key, self.extra_headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFacts:
    """What the server says of itself. ``kind``: llama.cpp, vllm, sglang, trtllm, tgi, ollama or unknown.

    ``model`` is the one to ask for; ``max_context_tok`` its context for one request; ``metrics_url`` answered with
    Prometheus text just now, or is None; ``props`` is the server's own description, as it came.
    """

    kind: str
    version: str | None
    model: str
    models: tuple[str, ...]
    max_context_tok: int | None
    metrics_url: str | None
    props: Mapping[str, Any]

    @property
    def takes_ignore_eos(self) -> bool:
        """Whether the server is known to take ``ignore_eos`` (OpenAI's own refuses unknown fields)."""
        return self.kind in TAKES_IGNORE_EOS


async def check_endpoint(session: aiohttp.ClientSession, endpoint: Endpoint) -> EndpointFacts:
    """Ask the server what it is. Raises ServerError(usage=True), one line, when it cannot be used as asked."""
    rows = await _models(session, endpoint)
    row = _chosen(rows, endpoint)
    root = endpoint.root_url
    props, version, info, about, ollama = await asyncio.gather(
        *(
            _document(session, endpoint, root + path)
            for path in ("/props", "/version", "/info", "/get_server_info", "/api/version")
        )
    )
    metrics_url, page = await _metrics_page(session, endpoint, str(row["id"]))
    kind = _kind(str(row.get("owned_by", ""))[:MAX_NAME_CHARS], props, info, about, ollama)
    if kind == UNKNOWN:
        kind = await _kind_by_counters(page)
    version_of_kind = {"llama.cpp": props.get("build_info"), "tgi": info.get("version"), "sglang": about.get("version")}
    version_text = version_of_kind.get(kind) or (ollama if kind == "ollama" else version).get("version")
    return EndpointFacts(
        kind=kind,
        version=plain_name(version_text, endpoint.secrets),
        model=str(row["id"]),
        models=tuple(plain_name(r["id"], endpoint.secrets) or "" for r in rows[:MOST_NAMES]),
        max_context_tok=_context_tok(row, props, info),
        metrics_url=metrics_url,
        props=props or info or about,
    )


async def _models(session: aiohttp.ClientSession, endpoint: Endpoint) -> list[dict[str, Any]]:
    url = endpoint.url + "/models"
    try:
        status, body = await _get(session, endpoint, url)
    except TimeoutError:
        raise ServerError(
            f"{url} did not answer within {PROBE_TIMEOUT_S:g} s; is the server up and `url` right?", usage=True
        ) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise ServerError(f"no server answers at {url} ({reason}); start it or correct `url`", usage=True) from None
    if status in (401, 403):
        key = "the key was refused" if endpoint.api_key else "it requires a key"
        raise ServerError(f"{url} answered {status}: {key}; put the right key into the environment", usage=True)
    rows = _json(body).get("data") if status == 200 else None
    named = [r for r in rows if isinstance(r, dict) and r.get("id")] if isinstance(rows, list) else []
    if named:
        return named
    if endpoint.model:  # some servers answer questions and list nothing: the first question will tell
        return [{"id": endpoint.model}]
    if status != 200:
        error_line = error_text(body, 120, endpoint.secrets)
        raise ServerError(
            f"{url} answered {status} ({error_line}); is `url` an OpenAI-compatible API? "
            "One that lists no models needs "
            "`model=NAME`",
            usage=True,
        )
    raise ServerError(
        f"{url} lists no models; is `url` an OpenAI-compatible API with a model loaded? If it answers all the same, "
        "name the model with `model=NAME`",
        usage=True,
    )


def _chosen(rows: list[dict[str, Any]], endpoint: Endpoint) -> dict[str, Any]:
    names = [plain_text(str(r["id"]), endpoint.secrets, MAX_SHOWN_CHARS) for r in rows[:8]]
    shown = ", ".join(names) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
    if not endpoint.model:
        if len(rows) > 1:
            raise ServerError(f"the server has {len(rows)} models; choose one with --model: {shown}", usage=True)
        return _writable(rows[0], endpoint)
    for row in rows:
        aliases = row.get("aliases")
        if endpoint.model == row["id"] or (isinstance(aliases, list) and endpoint.model in aliases):
            return _writable(row, endpoint)
    raise ServerError(f"the server has no model {endpoint.model!r}; it serves: {shown}", usage=True)


def _writable(row: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    """The row, once its name can be kept as it is: one that must be changed for that could not be asked for."""
    name = str(row["id"])
    if plain_name(name, endpoint.secrets) != name:
        raise ServerError(
            f"the server's model has a name that cannot be kept ({len(name)} characters, or some that are none): "
            f"{plain_text(name, endpoint.secrets, MAX_SHOWN_CHARS)}; serve it under a plain name of at most "
            f"{MAX_NAME_CHARS} characters",
            usage=True,
        )
    return row


def _kind(
    owner: str, props: Mapping[str, Any], info: Mapping[str, Any], about: Mapping[str, Any], ollama: Mapping[str, Any]
) -> str:
    known = {"llamacpp": "llama.cpp", "vllm": "vllm", "sglang": "sglang", "tensorrt_llm": "trtllm"}
    if owner in known:
        return known[owner]
    signs = (
        ("llama.cpp", "default_generation_settings" in props or "build_info" in props),
        ("tgi", "model_id" in info and "version" in info),
        ("sglang", "internal_states" in about or "tp_size" in about),
        ("ollama", "version" in ollama),
    )
    return next((kind for kind, is_there in signs if is_there), UNKNOWN)


async def _kind_by_counters(page: bytes) -> str:
    """By the names of the counters: a server may list no models, or call itself anything."""
    try:
        dialect = await from_source("the metrics page", read_in_thread(_dialect_of, page), READ_S)
    except JoulemillError:  # a page that cannot be read is told where its counters are wanted
        return UNKNOWN
    return KIND_OF_DIALECT.get(dialect, dialect)


def _dialect_of(page: bytes) -> str:
    dialect = detect_dialect(parse_metrics(page.decode("utf-8", "replace")))
    return UNKNOWN if dialect is None else dialect.name


def _context_tok(row: Mapping[str, Any], props: Mapping[str, Any], info: Mapping[str, Any]) -> int | None:
    """Context of one request: llama.cpp's is that of one slot, not of the whole server."""
    settings = props.get("default_generation_settings")
    slot = settings.get("n_ctx") if isinstance(settings, dict) else None
    for value in (row.get("max_model_len"), slot, info.get("max_total_tokens")):
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


async def _metrics_page(session: aiohttp.ClientSession, endpoint: Endpoint, model: str) -> tuple[str | None, bytes]:
    """Where Prometheus text is: TensorRT-LLM keeps JSON at /metrics; llama.cpp's router wants the model named.

    And the text, where it is this server's own: a page that was stated may be that of an engine behind a gateway.
    """
    if endpoint.metrics is not None:
        return await _stated_metrics(session, endpoint, endpoint.metrics), b""
    for path in ("/metrics", f"/metrics?model={quote(model, safe='')}", "/prometheus/metrics"):
        try:
            status, body = await _get(session, endpoint, endpoint.root_url + path)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return None, b""
        if status == 200 and body.lstrip()[:1] not in (b"{", b"[", b"<", b""):
            return endpoint.root_url + path, body
    return None, b""


async def _stated_metrics(session: aiohttp.ClientSession, endpoint: Endpoint, url: str) -> str:
    """``--metrics-url``, which the user relies on: it must answer now."""
    wrong = f"`metrics_url` {url}"
    try:
        status, body = await _get(session, endpoint, url)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as fault:
        reason = plain_text(str(fault) or type(fault).__name__, endpoint.secrets, MAX_SHOWN_CHARS)
        raise ServerError(
            f"{wrong}: nothing answers there ({reason}); correct it or leave it out", usage=True
        ) from None
    if status != 200 or body.lstrip()[:1] in (b"{", b"[", b"<", b""):
        raise ServerError(f"{wrong}: answered {status} without Prometheus text; correct it or leave it out", usage=True)
    return url


async def _document(session: aiohttp.ClientSession, endpoint: Endpoint, url: str) -> dict[str, Any]:
    """A JSON object that the server may or may not have: empty where it does not."""
    try:
        status, body = await _get(session, endpoint, url)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return {}
    return _json(body) if status == 200 else {}


async def _get(session: aiohttp.ClientSession, endpoint: Endpoint, url: str) -> tuple[int, bytes]:
    async with asyncio.timeout(PROBE_TIMEOUT_S):
        async with session.get(url, headers=endpoint.headers(url), allow_redirects=False) as response:
            chunks, size_byte = [], 0
            while (data := await response.content.readany()) and size_byte <= MAX_PROBE_BYTE:
                chunks.append(data)
                size_byte += len(data)
            return response.status, b"".join(chunks)


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what may hear the same secrets."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


def _plain_address(url: str, name: str, example: str) -> SplitResult:
    """The parts of ``url``. Raises InputError where it is no address of a server, or holds a secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InputError(f"{name} {url!r} has no valid host or port; write it like {example}") from None
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() or not c.isprintable() for c in url):
        raise InputError(f"{name} {url!r} is not a server's address; write it like {example}")
    if parts.username or parts.password or parts.fragment:
        raise InputError(f"{name} holds a user or fragment; give the plain address, the key in the environment")
    return parts


def _normal(url: str) -> str:
    """``http://host:port/v1``, from whatever of it was given."""
    parts = _plain_address(url.strip(), "`url`", "http://127.0.0.1:8000/v1")
    if parts.query:
        raise InputError("the server's URL holds a query; give the plain address")
    path = _ASKED.sub("", parts.path.rstrip("/"))
    if not _VERSION.search(path):
        path += "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
