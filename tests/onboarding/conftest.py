"""A service with nobody in it yet, and one whose organisation has consented."""

from collections.abc import Iterator

import pytest
from support.reception import Browser, Reception, reception

from backup_core.onboarding.consent import prove_consent


@pytest.fixture
def one() -> Iterator[Reception]:
    with reception() as made:
        yield made


@pytest.fixture
def browser(one: Reception) -> Browser:
    return Browser(one)


@pytest.fixture
def connected() -> Iterator[Reception]:
    """A service whose organisation of three has consented."""
    with reception(users=3) as made:
        prove_consent(made, made.m365.tenant.id, "page")
        yield made
