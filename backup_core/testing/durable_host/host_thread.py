"""A LocalHost on a thread of its own, so that the main thread is free for signals, or for a test."""

import asyncio
import threading
from concurrent.futures import Future

from backup_core.testing.durable_host.local_host import LocalHost

_STOP_SECONDS = 5.0


class HostThread:
    """`start` and `stop` may be called from any thread; everything else of the host belongs to its event loop."""

    def __init__(self, host: LocalHost, address: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._address = address
        self._port = port
        self._ready: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="local-host")

    def start(self) -> int:
        """The port on which it serves. Raises what LocalHost.start raises."""
        self._thread.start()
        return self._ready.result()

    def stop(self) -> None:
        """End the host; functions that are at work are left to themselves."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        try:
            await self._host.start(self._address, self._port)
        except BaseException as error:
            await self._host.stop()
            self._ready.set_exception(error)
            return
        self._ready.set_result(self._host.port)
        await self._end.wait()
        await self._host.stop()
