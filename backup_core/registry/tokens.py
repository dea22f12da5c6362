"""The tokens of people who connected their drive by signing in, sealed. It neither reads nor renews them."""

from backup_core.errors import Damaged
from backup_core.registry import keys
from backup_core.registry.sealing import Sealer
from backup_core.registry.table import TEXT_UNITS_MAX, Conflict, Delete, Put, Table
from backup_core.registry.values import Reader, to_values

FORMAT = 1

# msal's cache of one account is about 8 KB, but a table's value ends at 32,768 characters, and nothing limits a cache.
_PIECE_CHARACTERS = TEXT_UNITS_MAX
PURPOSE = "token"


class Tokens:
    """One sealed text an account, bound to its tenant and its id."""

    def __init__(self, table: Table, sealer: Sealer) -> None:
        self._table = table
        self._sealer = sealer

    def save(self, tenant: str, account: str, cache_text: str) -> None:
        """Keep the text, in the place of one that is there. Usage for one of more than about 700 KB."""
        sealed = self._sealer.seal(cache_text.encode(), _bound_to(tenant, account))
        pieces = [sealed[at : at + _PIECE_CHARACTERS] for at in range(0, len(sealed), _PIECE_CHARACTERS)]
        values = to_values(FORMAT, **{f"sealed_{n}": piece for n, piece in enumerate(pieces)})
        self._table.transact(keys.part(tenant), [Put(_key(account), values)])

    def load(self, tenant: str, account: str) -> str | None:
        """The text; None where none is kept. Damaged where it does not open."""
        row = self._table.get(keys.part(tenant), _key(account))
        if row is None:
            return None
        read = Reader(row, FORMAT)
        sealed = "".join(read.text(f"sealed_{n}") for n in range(len(row.values)))
        try:
            return self._sealer.open(sealed, _bound_to(tenant, account)).decode()
        except UnicodeDecodeError:
            raise Damaged("The kept sign-in of an account is not text.", remedy="Connect the account again.") from None

    def delete(self, tenant: str, account: str) -> None:
        """Forget the text; where none is kept that is no error."""
        try:
            self._table.transact(keys.part(tenant), [Delete(_key(account))])
        except Conflict:
            pass


def _key(account: str) -> str:
    return keys.TOKENS + keys.part(account)


def _bound_to(tenant: str, account: str) -> str:
    return f"{tenant.lower()}/{account.lower()}"
