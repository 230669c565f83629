"""The HTTP side of Ray's job server, as Ray's own client speaks to it.

Ray's server is a part of its dashboard and needs ray[default]. Here the same requests are answered
from ray._private.ray_constants import DASHBOARD_CLIENT_MAX_SIZE
from a script (`Scripted`), or, run as a program on a cluster's head, by Ray's own job manager.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import ray

# aiohttp, as Ray's wheel has it for a process of its own.
sys.path.append(str(Path(ray.__file__).parent / "_private/runtime_env/agent/thirdparty_files"))

from aiohttp import web
from ray._private.authentication.http_token_authentication import get_token_auth_middleware
from ray._private.ray_constants import DASHBOARD_CLIENT_MAX_SIZE

BUNDLED = Path(web.__file__).parent.parent
"""Where aiohttp was found, for other processes."""


class Jobs(Protocol):
    """The server of the jobs."""

    version: str

    async def has(self, uri: str) -> bool: ...
    async def put(self, uri: str, package: bytes) -> None: ...
    async def submit(self, asked: dict[str, Any]) -> str: ...
    async def jobs(self) -> dict[str, dict[str, Any]]: ...
    def log(self, job_id: str) -> AsyncIterator[str]: ...
    async def stop(self, job_id: str) -> bool: ...


def application(jobs: Jobs) -> web.Application:
    async def version(_: web.Request) -> web.Response:
        return web.json_response({"version": "4", "ray_version": jobs.version})

    async def has(request: web.Request) -> web.Response:
        return web.Response(status=200 if await jobs.has(_uri(request)) else 404)

    async def put(request: web.Request) -> web.Response:
        await jobs.put(_uri(request), await request.read())
        return web.Response()

    async def submit(request: web.Request) -> web.Response:
        job_id = await jobs.submit(await request.json())
        return web.json_response({"job_id": job_id, "submission_id": job_id})

    async def known(_: web.Request) -> web.Response:
        return web.json_response(list((await jobs.jobs()).values()))

    async def info(request: web.Request) -> web.Response:
        job = (await jobs.jobs()).get(request.match_info["job"])
        return web.json_response(job) if job else web.Response(status=404, text="no such job")

    async def tail(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for text in jobs.log(request.match_info["job"]):
            await socket.send_str(text)
        return socket

    async def stop(request: web.Request) -> web.Response:
        return web.json_response({"stopped": await jobs.stop(request.match_info["job"])})

    app = web.Application(
        client_max_size=DASHBOARD_CLIENT_MAX_SIZE,
        middlewares=[get_token_auth_middleware(web_module())],
    )
    app.add_routes(
        [
            web.get("/api/version", version),
            web.get("/api/packages/{protocol}/{name}", has),
            web.put("/api/packages/{protocol}/{name}", put),
            web.post("/api/jobs/", submit),
            web.get("/api/jobs/", known),
            web.get("/api/jobs/{job}", info),
            web.get("/api/jobs/{job}/logs/tail", tail),
            web.post("/api/jobs/{job}/stop", stop),
        ]
    )
    return app


def web_module() -> Any:
    import aiohttp

    return aiohttp


def _uri(request: web.Request) -> str:
    return f"{request.match_info['protocol']}://{request.match_info['name']}"


@contextmanager
def served(jobs: Jobs) -> Iterator[str]:
    """Answer on a free port of this machine; the server's URL."""
    loop, urls = asyncio.new_event_loop(), []
    started = threading.Event()
    runner = web.AppRunner(application(jobs), shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        started.set()

    def serve() -> None:
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.run_until_complete(loop.shutdown_asyncgens())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class Managed:
    """Ray's own manager of jobs, in a driver on the head."""

    version = ray.__version__

    def __init__(self) -> None:
        from ray._private.ray_constants import KV_HEAD_NODE_ID_KEY, KV_NAMESPACE_JOB
        from ray.dashboard.modules.job.job_manager import JobManager

        worker = ray._private.worker
        # As the dashboard does: jobs are driven on this node, where their logs are read.
        here = ray.get_runtime_context().get_node_id().encode()
        worker.global_worker.gcs_client.internal_kv_put(
            KV_HEAD_NODE_ID_KEY, here, True, namespace=KV_NAMESPACE_JOB
        )
        logs = worker._global_node.get_logs_dir_path()
        self._manager = JobManager(worker.global_worker.gcs_client, logs)

    async def has(self, uri: str) -> bool:
        from ray._private.runtime_env.packaging import package_exists, pin_runtime_env_uri

        pin_runtime_env_uri(uri)
        return bool(package_exists(uri))

    async def put(self, uri: str, package: bytes) -> None:
        from ray._private.runtime_env.packaging import upload_package_to_gcs

        upload_package_to_gcs(uri, package)

    async def submit(self, asked: dict[str, Any]) -> str:
        return str(await self._manager.submit_job(**asked))

    async def jobs(self) -> dict[str, dict[str, Any]]:
        infos = await self._manager.list_jobs()
        return {
            name: json.loads(json.dumps(dataclasses.asdict(job)))
            | {"submission_id": name, "type": "SUBMISSION"}
            for name, job in infos.items()
        }

    def log(self, job_id: str) -> AsyncIterator[str]:
        tail: AsyncIterator[str] = self._manager.tail_job_logs(job_id)
        return tail

    async def stop(self, job_id: str) -> bool:
        return bool(self._manager.stop_job(job_id))


async def _serve_cluster(host: str, port: int) -> None:
    runner = web.AppRunner(application(Managed()))
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=8265)
    options = parser.parse_args()
    ray.init(address=options.address, log_to_driver=False, logging_level="ERROR")
    asyncio.run(_serve_cluster(options.host, options.port))
