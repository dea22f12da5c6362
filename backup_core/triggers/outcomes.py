"""The texts of every way in which connecting an organisation or a person can end; no request, no HTML."""

from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "wait", "problem"]
Way = Literal["onboard", "connect"]


@dataclass(frozen=True)
class Outcome:
    """One ending: what happened, why (empty where nobody asks), and what to do next.

    `action`: the label of the page's button; `leads_to`: "overview", or "start" for the beginning of the same way.
    """

    tone: Tone
    title: str
    what: str
    why: str
    next: str
    action: str = ""
    leads_to: Literal["overview", "start"] = "start"


_START_AGAIN = "Start again"

OUTCOMES: dict[str, Outcome] = {
    "granted": Outcome(
        "good",
        "Your organisation is connected",
        "Microsoft confirmed the consent, and drivekeep proved it by signing in with an identity of its own.",
        "",
        "Nothing. The list of users is being read now. Whoever is to be protected gets a first backup soon after, and "
        "from then on by schedule. You may close this page.",
    ),
    "waiting": Outcome(
        "wait",
        "Consent received; Microsoft is still passing it on",
        "You have given consent, but Microsoft does not let drivekeep into your organisation yet.",
        "A new consent can take some minutes to reach all of Microsoft's servers.",
        "Nothing: drivekeep keeps trying and begins by itself. You may close this page. If nothing has begun after an "
        "hour, open this site again and start anew.",
    ),
    "approval": Outcome(
        "wait",
        "Waiting for an administrator of yours",
        "Your request has gone to the administrators of your organisation. Nothing is connected yet.",
        "Your organisation lets its people ask for an app, and an administrator decides.",
        "An administrator finds the request in the Entra admin center, under Enterprise applications, Admin consent "
        "requests. It also works to send them the address of this site: they can connect the organisation directly.",
    ),
    "denied": Outcome(
        "problem",
        "Consent was declined",
        "Microsoft reports that the request was declined or cancelled. Nothing was read, and nothing was stored.",
        "Somebody chose Cancel, or a policy of your organisation does not allow this app.",
        "Whenever you want to connect after all, start again. The first page says what is read and what is never done.",
        _START_AGAIN,
    ),
    "not-admin": Outcome(
        "problem",
        "This needs an administrator",
        "The account that you signed in with may not give consent for a whole organisation. Nothing was connected.",
        "Reading everybody's drive can only be granted by a Privileged Role Administrator or a Global Administrator.",
        "Send the address of this site to such an administrator, or start again and sign in as one.",
        _START_AGAIN,
    ),
    "wrong-tenant": Outcome(
        "problem",
        "The answer came from another organisation",
        "The organisation that the link names is not the one that Microsoft gives proof of. Nothing was registered.",
        "The link was changed on its way, or you were signed in to two organisations at once.",
        "Start again, and choose an account of the organisation that you want to connect.",
        _START_AGAIN,
    ),
    "missing-permission": Outcome(
        "problem",
        "A permission is missing",
        "Your organisation knows drivekeep, but has not granted all that a backup needs. Nothing was read.",
        "The consent was given before the app asked for this permission, or a part of it was taken back.",
        "Start again and give consent once more: Microsoft then shows the whole list.",
        "Give consent again",
    ),
    "already-connected": Outcome(
        "good",
        "Your organisation is already connected",
        "There was nothing to set up. The list of its users is being read again, so that new colleagues are found.",
        "",
        "Nothing. Operators of drivekeep see your organisation on the overview.",
        "Open the overview",
        "overview",
    ),
    "expired": Outcome(
        "problem",
        "This link is no longer valid",
        "The way back from Microsoft could not be matched with a way there. Nothing was connected by it.",
        "For your safety a link works once, within 15 minutes, and in the browser that began.",
        "Start again from the first page. It takes a minute.",
        _START_AGAIN,
    ),
    "portal": Outcome(
        "wait",
        "One more step, from here",
        "Consent was given outside of this site, for example in the Entra admin center. Nothing is registered yet.",
        "drivekeep connects an organisation only when its administrator began on this site: so nobody else can do it "
        "in your name.",
        "Start here. Microsoft asks again for the permissions; then the organisation is connected.",
        "Connect your organisation",
    ),
    "pending-approval": Outcome(
        "wait",
        "Connected, and waiting to be let in",
        "Your consent is recorded. Nobody's drive is read yet.",
        "Whoever runs this drivekeep approves each new organisation before the first backup.",
        "Tell whoever runs it that you are ready. Once they approve, everything begins by itself.",
    ),
    "error": Outcome(
        "problem",
        "The connection could not be completed",
        "Microsoft's sign-in ended with an error. Nothing was connected.",
        "",
        "Try again in a few minutes. If it happens again, tell whoever runs this drivekeep what stands here.",
        _START_AGAIN,
    ),
}

# Where one person meets the same, it means something else.
_OF_ONE_PERSON: dict[str, Outcome] = {
    "not-admin": Outcome(
        "problem",
        "Your organisation wants an administrator for this",
        "Microsoft did not let you connect your account by yourself. Nothing was connected.",
        "In your organisation, people may use an app like this only after an administrator has agreed to it.",
        "Ask an administrator to connect the organisation on this site: your OneDrive is then backed up with it.",
        _START_AGAIN,
    ),
}


def outcome(kind: str, way: Way = "onboard") -> Outcome:
    """The texts of an ending of that way. KeyError for a kind that there is not."""
    return {**OUTCOMES, **_OF_ONE_PERSON}[kind] if way == "connect" else OUTCOMES[kind]
