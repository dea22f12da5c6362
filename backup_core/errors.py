"""Every error that crosses a room's door, in one small tree.

DrivekeepError                 1    something went wrong that no other class names
├── Usage                      2    the request cannot be carried out as it was put
├── Temporary                  5    nothing is broken; the same command may work later
├── NoRepository              10    there is no repository at that place
├── Locked                    11    somebody else works on the repository, or another run was first
├── WrongPassword             12    no key of the repository opens with this password
├── AccessDenied              13    sign-in or consent is missing, or access was refused
├── Damaged                   14    what is stored is not what was written
├── Interrupted          130/143    a person or the system asked the program to stop
├── NotFound                   1    a named thing is not there (an object, a drive item, a snapshot)
├── AlreadyExists              1    an object of that name is there already
└── Inconsistent               1    drive state and feed contradict each other: enumerate the drive again

An error says what happened, why, and what to do next; the number is the exit code of a command that ends with it.
`reason` is one word for programs. A caller acts on the class, never on the text.
"""


class DrivekeepError(Exception):
    """Carries the three sentences that a person sees: what happened, why, and what to do next."""

    exit_code = 1
    reason = "error"

    def __init__(self, what: str, *, why: str = "", remedy: str = "", reason: str = "") -> None:
        super().__init__(what)
        self.what, self.why, self.remedy = what, why, remedy
        if reason:
            self.reason = reason

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.why, self.remedy) if part)


class Usage(DrivekeepError):
    exit_code = 2
    reason = "usage"


class Temporary(DrivekeepError):
    """`retry_after`: seconds after which another try makes sense, where the other side said so."""

    exit_code = 5
    reason = "unreachable"

    def __init__(
        self, what: str, *, why: str = "", remedy: str = "", reason: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(what, why=why, remedy=remedy, reason=reason)
        self.retry_after = retry_after


class NoRepository(DrivekeepError):
    exit_code = 10
    reason = "no-repository"


class Locked(DrivekeepError):
    exit_code = 11
    reason = "locked"


class WrongPassword(DrivekeepError):
    exit_code = 12
    reason = "wrong-password"


class AccessDenied(DrivekeepError):
    exit_code = 13
    reason = "access-denied"


class Damaged(DrivekeepError):
    exit_code = 14
    reason = "damaged"


class Interrupted(DrivekeepError):
    exit_code = 130
    reason = "interrupted"

    def __init__(self, what: str, *, exit_code: int = 130) -> None:
        super().__init__(what, remedy="Run the same command again: it goes on with what was saved.")
        self.exit_code = exit_code


class NotFound(DrivekeepError):
    reason = "not-found"


class AlreadyExists(DrivekeepError):
    reason = "already-exists"


class Inconsistent(DrivekeepError):
    reason = "inconsistent"
