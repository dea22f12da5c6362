"""A Functions host for one machine: HTTP routes, timers and the durable protocol around an unchanged function_app.py.

Everything it knows lies in memory. It is a tool for tests, the demo and for trying things out, never for production.
"""

from backup_core.testing.durable_host.hub import TaskHub
from backup_core.testing.durable_host.local_host import LocalHost
from backup_core.testing.durable_host.worker import FunctionFailed, FunctionInfo, Worker

__all__ = ["FunctionFailed", "FunctionInfo", "LocalHost", "TaskHub", "Worker"]
