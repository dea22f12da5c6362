"""Which master key this installation works with, so that a wrong one is noticed before anything is written with it."""

from backup_core.clock import Clock
from backup_core.errors import DrivekeepError
from backup_core.registry import keys
from backup_core.registry.master_key import MasterKey
from backup_core.registry.table import Change, Insert, Replace, Table, commit
from backup_core.registry.values import Reader, to_values

FORMAT = 1

_KEY = "master-key"


def check_fingerprint(table: Table, master_key: MasterKey, clock: Clock) -> None:
    """Record the key the first time, and a new one whose former key is the recorded one.

    DrivekeepError (reason "wrong-key") where the table knows a key that is not among the given ones.
    """

    def recorded() -> list[Change]:
        row = table.get(keys.INSTALLATION, _KEY)
        known = Reader(row, FORMAT).text("fingerprint") if row else ""
        if known == master_key.fingerprint():
            return []
        if known and known not in master_key.fingerprints():
            raise _wrong_key(known)
        values = to_values(FORMAT, fingerprint=master_key.fingerprint(), recorded_at=clock.now())
        return [Replace(row.key, values, row.etag) if row else Insert(_KEY, values)]

    commit(table, clock, keys.INSTALLATION, recorded)


def _wrong_key(known: str) -> DrivekeepError:
    return DrivekeepError(
        "DRIVEKEEP_MASTER_KEY is not the key of this installation.",
        why=f"Repositories here belong to the key with the fingerprint {known}.",
        remedy="Set that key again. For a change of keys set the new one, and the former one in "
        "DRIVEKEEP_MASTER_KEY_PREVIOUS.",
        reason="wrong-key",
    )
