"""What orchestrators do about rarer trouble: work that somebody else has done, locks that stay, activities that die."""

from collections.abc import Callable
from typing import Any

import pytest
from support.played import play

from backup_core.testing.durable_host.mishaps import Mishap, at
from backup_core.triggers.orchestrations import ROUNDS_MAX
from backup_core.triggers.turn import CALLS_MAX

CLAIM = {"tenant": "t", "account": "a", "token": "k", "kind": "backup", "first_turn": True}
DONE = {"ok": True, "committed": True, "summary": {"complete": True}, "report": "", "drive_id": "d"}
LEFT = {"ok": True, "committed": False}
Act = Callable[[dict[str, Any]], Any]


def failing(reason: str, **more: Any) -> dict[str, Any]:
    return {"ok": False, "reason": reason, "again": False, "retry_after": 0.0, "message": "", **more}


class Script:
    """Activities that answer in turn what is written down, the last answer for ever; and what they were called with."""

    def __init__(self, **answers: Any) -> None:
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.plays = {name: self._play(name, list(each)) for name, each in answers.items()}

    def _play(self, name: str, answers: list[Any]) -> Act:
        jobs = self.jobs.setdefault(name, [])

        def act(job: dict[str, Any]) -> Any:
            jobs.append(job)
            return answers.pop(0) if len(answers) > 1 else answers[0]

        return act


def saved(files: int = 1, size: int = 1) -> dict[str, Any]:
    return {"ok": True, "files": files, "bytes": size, "whole": True, "retry_after": 0.0}


@pytest.mark.parametrize("step", ["cut_batches", "save_batch", "commit_snapshot"])
def test_run_that_somebody_else_has_ended_is_planned_again(step: str) -> None:
    """Its plan is gone with it. The next one goes on from there; nothing is distrusted, nothing listed anew."""
    answers: dict[str, list[Any]] = {
        "plan_changes": [{"ok": True}],
        "cut_batches": [{"ok": True, "first": 1, "count": 1}],
        "save_batch": [saved()],
        "commit_snapshot": [DONE],
    }
    answers[step] = [failing("unplanned"), *answers[step]]
    script = Script(**answers)
    played = play("back_up_drive", CLAIM, script.plays)
    assert played.output["end"] == "done"
    plans = script.jobs["plan_changes"]
    assert [(job["start_over"], job.get("trust_state", True)) for job in plans] == [(False, True)] * 2


def test_run_that_is_ended_by_others_again_and_again() -> None:
    """Two that work for one drive do not chase each other for ever."""
    script = Script(plan_changes=[{"ok": True, "first": 1, "count": 0}], commit_snapshot=[failing("unplanned")])
    played = play("back_up_drive", CLAIM, script.plays)
    assert played.output["end"] == "failed"
    assert played.calls["plan_changes"] < 6


def test_enumeration_that_needs_several_turns_goes_on() -> None:
    """A turn that has given up the drive state says so when it ends, and the next one does not begin with it again."""
    script = Script(plan_changes=[failing("inconsistent"), {"ok": True, "more": True}])
    played = play("back_up_drive", CLAIM, script.plays)
    assert played.output == {"end": "put-back", "seconds": 0, "reason": "inconsistent"}
    script = Script(plan_changes=[failing("inconsistent"), failing("throttled", again=True, retry_after=900.0)])
    played = play("back_up_drive", CLAIM, script.plays)
    assert played.output == {"end": "put-back", "seconds": 900, "reason": "inconsistent"}
    script = Script(plan_changes=[{"ok": True, "more": True}])
    played = play("back_up_drive", {**CLAIM, "trust_state": False, "first_turn": False}, script.plays)
    assert {(job.get("start_over", False), job["trust_state"]) for job in script.jobs["plan_changes"]} == {
        (False, False)
    }
    assert played.output["reason"] == "inconsistent"


@pytest.mark.parametrize("reason", ["locked", "storage-unreachable"])
@pytest.mark.parametrize("step", ["plan_changes", "commit_snapshot"])
def test_lock_that_stays_is_reported(step: str, reason: str) -> None:
    """Somebody's forgotten lock holds no lane for ever: after some minutes the drive's run says why it has failed."""
    answers = {"plan_changes": [{"ok": True, "first": 1, "count": 0}], "commit_snapshot": [DONE]}
    answers[step] = [failing(reason, again=True, retry_after=120.0)]
    played = play("back_up_drive", CLAIM, Script(**answers).plays)
    assert (played.output["end"], played.output["reason"]) == ("failed", reason)
    assert 300 < played.seconds < 1800


def test_lock_on_every_batch_is_reported() -> None:
    """So it is where batches meet it."""
    script = Script(
        plan_changes=[{"ok": True, "first": 1, "count": 40}],
        save_batch=[failing("locked", again=True, retry_after=120.0)],
        cut_batches=[{"ok": True, "first": 1, "count": 40}],
        commit_snapshot=[LEFT],
    )
    played = play("back_up_drive", CLAIM, script.plays)
    assert (played.output["end"], played.output["reason"]) == ("failed", "locked")
    assert played.seconds < 1800


def test_throttling_that_stays_is_waited_for() -> None:
    """Microsoft's pauses always end: however many there are, a turn goes back to the queue and fails nobody."""
    script = Script(plan_changes=[failing("throttled", again=True, retry_after=60.0)])
    played = play("back_up_drive", CLAIM, script.plays)
    assert (played.output["end"], played.output["reason"]) == ("put-back", "turn")
    assert played.calls["plan_changes"] <= CALLS_MAX


def test_large_file_on_a_slow_line_is_progress() -> None:
    """Rounds that bring parts of a file, and no whole one, are not taken for rounds that bring nothing."""
    script = Script(
        plan_changes=[{"ok": True, "first": 1, "count": 1}],
        save_batch=[saved(files=0, size=1 << 20)] * (ROUNDS_MAX - 2) + [saved()],
        cut_batches=[{"ok": True, "first": 1, "count": 1}],
        commit_snapshot=[LEFT] * (ROUNDS_MAX - 2) + [DONE],
    )
    assert play("back_up_drive", CLAIM, script.plays).output["end"] == "done"


@pytest.mark.parametrize("name", ["claim_next", "finish_drive"])
def test_lane_outlives_an_activity_that_dies(name: str) -> None:
    """A process that dies while a claim is taken or given back ends no lane: that is done again, and work goes on."""
    claims = [{"ok": True, "claim": {**CLAIM, "account": account}} for account in ("a", "b", "c")]
    script = Script(claim_next=[*claims, {"ok": False}], plan_changes=[DONE], finish_drive=[{"ok": True}])
    plan = at(name, Mishap(fails="before"), times=1)
    played = play("lane", {"tenant": "t", "lane": "lane-t-0"}, script.plays, plan)
    assert played.output is None
    assert [job["account"] for job in script.jobs["finish_drive"]] == ["a", "b", "c"]


def test_lane_whose_queue_cannot_be_read_ends() -> None:
    """It does not ask for ever; the next tick starts it again."""
    script = Script(claim_next=[{"ok": False}])
    played = play("lane", {"tenant": "t", "lane": "lane-t-0"}, script.plays, at("claim_next", Mishap(fails="before")))
    assert played.output is None
    assert played.calls["claim_next"] < 10
