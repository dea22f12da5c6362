"""The ids that stand in addresses: what each looks like, and which tenant a run's id names. It looks nothing up."""

import re

from backup_core.triggers.problems import Refusal, not_here

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_UPN = re.compile(r"[^\s/\\?#@\x00-\x1f\x7f]{1,113}@[^\s/\\?#@\x00-\x1f\x7f]{1,113}\Z")
_RUN = re.compile(r"([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})-[0-9a-f]{20}\Z")
_SNAPSHOT = re.compile(r"latest\Z|[0-9a-f]{1,64}\Z")


def tenant_in_path(text: str) -> str:
    """A tenant's id, in lower case. Refusal 404 where it can be nobody's."""
    return _matching(_GUID, text)


def account_in_path(text: str) -> str:
    """An account's id or user principal name, in lower case. Refusal 404."""
    return text.lower() if _UPN.match(text) else _matching(_GUID, text)


def run_in_path(text: str) -> tuple[str, str]:
    """The tenant in whose partition a run lies, and the run's id: known without reading anything. Refusal 404."""
    run = _matching(_RUN, text)
    found = _RUN.match(run)
    assert found is not None
    return "-".join(found.groups()), run


def snapshot_in_path(text: str) -> str:
    """`latest`, an id or the beginning of one. Refusal 404."""
    return _matching(_SNAPSHOT, text)


def tenant_given(text: str) -> str:
    """A tenant's id from a query or a body. Refusal 400 names the field."""
    return _given(_GUID, text, "tenant", "the id of a directory: 8-4-4-4-12 hexadecimal digits")


def run_given(text: str) -> str:
    """The id of the run after which a list goes on. Refusal 400 names the field."""
    return _given(_RUN, text, "after", "the id of a run")


def account_given(text: str) -> str:
    """An account's id or user principal name from a body. Refusal 400 names the field."""
    return text.lower() if _UPN.match(text) else _given(_GUID, text, "account", "an id or a user principal name")


def _matching(pattern: re.Pattern[str], text: str) -> str:
    lower = text.lower()
    if not pattern.match(lower):
        raise not_here()
    return lower


def _given(pattern: re.Pattern[str], text: str, name: str, wanted: str) -> str:
    lower = text.lower()
    if not pattern.match(lower):
        raise Refusal(400, name, f"{name} must be {wanted}.")
    return lower
