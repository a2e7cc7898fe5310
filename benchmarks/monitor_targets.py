"""Fake vLLM servers on one loopback port: ``/N/metrics`` is target N, its counters moving with time.

    python benchmarks/monitor_targets.py PORT

A page has what vLLM's has: counters, gauges and histograms with their buckets, about 12 kB. Every 97th target restarts
now and then, every 89th is slow, every 83rd answers an error half of the time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

BUCKETS = ("0.001", "0.005", "0.01", "0.02", "0.04", "0.06", "0.08", "0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf")
HISTOGRAMS = (
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "e2e_request_latency_seconds",
    "request_time_per_output_token_seconds",
    "request_queue_time_seconds",
    "request_prefill_time_seconds",
    "request_decode_time_seconds",
    "request_inference_time_seconds",
)
BEGAN_S = time.time()


def rate_tok_s(n: int) -> float:
    """Output rate of target ``n``; every seventh is idle."""
    return 0.0 if n % 7 == 6 else 300.0 + n % 400


def page(n: int, now_s: float) -> str:
    since = now_s - BEGAN_S
    if n % 97 == 96:
        since %= 47.0  # it restarts
    made = rate_tok_s(n) * since
    label = f'{{engine="0",model_name="m{n % 20}"}}'
    lines = [
        f"# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{label} {made:.0f}",
        f"# TYPE vllm:prompt_tokens_total counter\nvllm:prompt_tokens_total{label} {4 * made:.0f}",
        f"# TYPE vllm:request_success_total counter\nvllm:request_success_total{label} {made / 256:.0f}",
        f"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{label} {8.0 if made else 0.0}",
        f"# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{label} 0.0",
        f"# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{label} 0.42",
    ]
    for name in HISTOGRAMS:
        lines.append(f"# TYPE vllm:{name} histogram")
        count = made / 256
        lines += [f'vllm:{name}_bucket{{engine="0",le="{b}",model_name="m{n % 20}"}} {count:.0f}' for b in BUCKETS]
        lines += [f"vllm:{name}_sum{label} {0.03 * count:.3f}", f"vllm:{name}_count{label} {count:.0f}"]
    return "\n".join(lines) + "\n"


class Fake(asyncio.Protocol):
    """Enough of HTTP for a scraper that keeps its connections."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while b"\r\n\r\n" in self.rest:
            head, self.rest = self.rest.split(b"\r\n\r\n", 1)
            n = int(head.split(b" ", 2)[1].strip(b"/").split(b"/")[0])
            now_s = time.time()
            if n % 83 == 82 and int(now_s / 15) % 2:
                self.transport.write(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")
            elif n % 89 == 88:
                asyncio.get_running_loop().call_later(1.5, self.answer, n, now_s)
            else:
                self.answer(n, now_s)

    def answer(self, n: int, now_s: float) -> None:
        body = page(n, now_s).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Fake, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
