"""The tokens of a person who connected their own drive, kept sealed in the registry as `KeptTokens` wants them."""

import logging

from backup_core.errors import DrivekeepError
from backup_core.graph.sign_in_host import expired
from backup_core.service.service import Service

_log = logging.getLogger(__name__)


class ConnectedTokens:
    """Read and replaced whole; each use of a refresh token brings a new one."""

    name = "the sealed sign-in of this account"
    again = "Let its owner open /connect on this site and sign in again."

    def __init__(self, service: Service, tenant: str, account: str) -> None:
        self._tokens, self._tenant, self._account = service.registry.tokens, tenant, account
        self._text: str | None = None

    def is_there(self) -> bool:
        self._text = self._tokens.load(self._tenant, self._account)
        return self._text is not None

    def read(self) -> bytes:
        text = self._tokens.load(self._tenant, self._account)
        if text is None:
            raise expired("Nobody is signed in for this account.", self.again)
        return text.encode()

    def replace(self, text: str) -> None:
        try:
            self._tokens.save(self._tenant, self._account, text)
        except DrivekeepError as error:
            _log.warning("The renewed sign-in of an account could not be kept: %s", error)
