"""A metrics page that a test turns, and a monitor that watches it."""

from __future__ import annotations

import asyncio

from aiohttp import web

from joulemill.monitor.config import MonitorConfig
from joulemill.monitor.loop import Monitor
from joulemill.monitor.snapshot import Snapshot


class Server:
    """A page in vLLM's words; ``broken`` answers bytes that are none."""

    def __init__(self) -> None:
        self.output, self.broken = 1000.0, False
        self._looks = asyncio.Condition()
        self._count = 0

    async def looked(self) -> None:
        """Wait until the monitor has read the page as it is now: one look is answered and the next has come."""
        async with self._looks:
            until = self._count + 2
            await self._looks.wait_for(lambda: self._count >= until)

    async def page(self, _: web.Request) -> web.Response:
        async with self._looks:
            self._count += 1
            self._looks.notify_all()
        if self.broken:
            return web.Response(body=b"\xff\xfe\x00<script>{{{" * 1000)
        text = (
            f'vllm:generation_tokens_total{{engine="0"}} {self.output}\nvllm:num_requests_running{{engine="0"}} 0\n'
            f'vllm:prompt_tokens_total{{engine="0"}} {2 * self.output}\n'
        )
        return web.Response(text=text)


async def watched(server: Server, script: object, history: object = None) -> Snapshot:
    app = web.Application()
    app.router.add_get("/metrics", server.page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    target = {"name": "a", "model": "m", "metrics_url": url}
    monitor = Monitor(MonitorConfig.model_validate({"period_s": 0.05, "timeout_s": 1, "target": [target]}), history)
    stop = asyncio.Event()
    task = asyncio.create_task(monitor.run(stop))
    try:
        await script(server)  # type: ignore[operator]
    finally:
        stop.set()
        await task
        await runner.cleanup()
    return monitor.snapshot()
