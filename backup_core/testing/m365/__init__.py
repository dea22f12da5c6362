"""A simulated Microsoft 365 over HTTPS on loopback: Graph, sign-in, content host and a proxy. A test tool.

    with Simulation(users=2) as m365:
        m365.users[0].drive.put_file("/Documents/a.txt", b"hello")
        run_something(env=m365.environment(user=0))
        assert [entry.path for entry in m365.log.of("graph")]

It shares no code with the client that it judges, quickXorHash aside.
"""

from backup_core.testing.m365.faults import Alter, Close, Reset, Slow, Status, Truncate, WithoutLength
from backup_core.testing.m365.simulated_tenant import SimulatedTenant, SimulatedUser
from backup_core.testing.m365.simulation import Simulation

__all__ = [
    "Alter",
    "Close",
    "Reset",
    "SimulatedTenant",
    "SimulatedUser",
    "Simulation",
    "Slow",
    "Status",
    "Truncate",
    "WithoutLength",
]
