"""A fleet that is made up and served over HTTP: dcgm pages of nodes with known watts, vLLM pages with known tokens.

Counters are exact functions of the time of asking, so that what a monitor should find is known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOUNDS_S = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


@dataclass
class Replica:
    """One vLLM server: output tokens a second, requests running and waiting. At no rate it is idle."""

    rate_tok_s: float
    running: int = 16
    waiting: int = 0
    prompt_ratio: float = 2.0

    def page(self, since_s: float) -> str:
        """Its metrics after ``since_s`` seconds."""
        output, label = self.rate_tok_s * since_s, '{engine="0",model_name="m"}'
        requests = output / 256.0
        running = self.running if self.rate_tok_s else 0
        lines = [
            "# TYPE vllm:num_requests_running gauge",
            f"vllm:num_requests_running{label} {running}",
            f"vllm:num_requests_waiting{label} {self.waiting}",
            f"vllm:kv_cache_usage_perc{label} 0.3",
            "# TYPE vllm:prompt_tokens_total counter",
            f"vllm:prompt_tokens_total{label} {self.prompt_ratio * output!r}",
            "# TYPE vllm:generation_tokens_total counter",
            f"vllm:generation_tokens_total{label} {output!r}",
            f'vllm:request_success_total{{engine="0",model_name="m",finished_reason="stop"}} {requests!r}',
        ]
        for name, typical_s in (("time_to_first_token_seconds", 0.2), ("time_per_output_token_seconds", 0.02)):
            count = requests if name.startswith("time_to") else output
            lines += [f"# TYPE vllm:{name} histogram"]
            for bound in (*BOUNDS_S, "+Inf"):
                under = count if bound == "+Inf" or float(bound) >= typical_s else 0.0
                lines.append(f'vllm:{name}_bucket{{engine="0",model_name="m",le="{bound}"}} {under!r}')
            lines += [f"vllm:{name}_sum{label} {typical_s * count!r}", f"vllm:{name}_count{label} {count!r}"]
        return "\n".join(lines) + "\n"


@dataclass
class Fleet:
    """``nodes``: watts of each board by node; ``replicas`` by name. Paths: ``/node/NAME`` and ``/vllm/NAME``.

    ``pods``: by node, the pod that has each board, where the exporter tells.
    """

    nodes: Mapping[str, Sequence[float]] = field(default_factory=dict)
    replicas: Mapping[str, Replica] = field(default_factory=dict)
    model: str = "NVIDIA H100 80GB HBM3"
    delay_s: float = 0.0
    began_s: float = field(default_factory=time.monotonic)
    pods: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def text(self, path: str) -> str | None:
        """The page at ``path``; None where there is none."""
        _, kind, name = [*path.partition("?")[0].split("/"), "", ""][:3]
        if kind == "node" and name in self.nodes:
            time.sleep(self.delay_s)
            return self.boards(name)
        if kind == "vllm" and name in self.replicas:
            return self.replicas[name].page(time.monotonic() - self.began_s)
        return None

    def boards(self, node: str) -> str:
        """A dcgm-exporter's page."""
        since_s = time.monotonic() - self.began_s
        power = ["# TYPE DCGM_FI_DEV_POWER_USAGE gauge"]
        energy = ["# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter"]
        for i, watts in enumerate(self.nodes[node]):
            pods = self.pods.get(node, ())
            owner = f',namespace="llm",pod="{pods[i]}"' if pods else ""
            named = f'gpu="{i}",UUID="GPU-{node}-{i}",device="nvidia{i}",modelName="{self.model}",Hostname="{node}"'
            label = f"{{{named}{owner}}}"
            power.append(f"DCGM_FI_DEV_POWER_USAGE{label} {watts}")
            energy.append(f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{label} {1e9 + 1e3 * watts * since_s!r}")
        return "\n".join([*power, *energy]) + "\n"


@contextmanager
def served(fleet: Fleet) -> Iterator[str]:
    """``http://127.0.0.1:PORT`` of ``fleet`` for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            text = fleet.text(self.path)
            body = (text or "no such page").encode()
            self.send_response(404 if text is None else 200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            with suppress(OSError):  # whoever asked may have gone
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
