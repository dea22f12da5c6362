"""The orchestrators: what they do about trouble, and that every replay of every history comes to the same."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.played import Played, play

from backup_core.testing.durable_host.mishaps import Mishap, at, by_chance
from backup_core.triggers.turn import CALLS_MAX, GROUP, WAIT_MAX_SECONDS

CLAIM = {"tenant": "t", "account": "a", "token": "k", "kind": "backup", "first_turn": True}
SUMMARY = {"ok": True, "committed": True, "summary": {"complete": True}, "report": "", "drive_id": "d"}


class Drive:
    """A drive of so many batches, whose steps can be told to have trouble. It is done when each batch is saved."""

    def __init__(self, batches: int, troubles: dict[str, list[Any]] | None = None) -> None:
        self.batches, self.saved = batches, set[int]()
        self.troubles = {name: list(results) for name, results in (troubles or {}).items()}
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def plays(self) -> dict[str, Any]:
        return {
            "plan_changes": self._step("plan_changes", lambda job: {"ok": True, "first": 1, "count": self.batches}),
            "cut_batches": self._step("cut_batches", self._cut),
            "save_batch": self._step("save_batch", self._save),
            "commit_snapshot": self._step("commit_snapshot", self._commit),
        }

    def _step(self, name: str, act: Any) -> Any:
        def step(job: dict[str, Any]) -> Any:
            self.seen.append((name, job))
            if self.troubles.get(name):
                trouble = self.troubles[name].pop(0)
                if trouble is not None:
                    return trouble
            return act(job)

        return step

    def _cut(self, job: dict[str, Any]) -> Any:
        left = [number for number in range(1, self.batches + 1) if number not in self.saved]
        return {"ok": True, "first": left[0] if left else 1, "count": len(left)}

    def _save(self, job: dict[str, Any]) -> Any:
        self.saved.add(job["batch"])
        return {"ok": True, "files": 1, "bytes": 1, "whole": True, "retry_after": 0.0}

    def _commit(self, job: dict[str, Any]) -> Any:
        return SUMMARY if len(self.saved) == self.batches else {"ok": True, "committed": False}


def back_up(drive: Drive, plan: Any = None) -> Played:
    return play("back_up_drive", CLAIM, drive.plays(), plan)


def failing(reason: str, **more: Any) -> dict[str, Any]:
    return {"ok": False, "reason": reason, "again": False, "retry_after": 0.0, "message": "", **more}


def test_drive_that_fits_one_activity_needs_one() -> None:
    """A plan that was carried out to its end at once is not followed by anything."""
    drive = Drive(1, {"plan_changes": [SUMMARY]})
    played = back_up(drive)
    assert played.output["end"] == "done"
    assert dict(played.calls) == {"plan_changes": 1}


@pytest.mark.parametrize("batches", [0, 1, GROUP, GROUP + 1, 40])
def test_batches_are_saved_then_committed(batches: int) -> None:
    """Every batch is saved once, and the snapshot is made once."""
    played = back_up(Drive(batches))
    assert played.output["end"] == "done"
    assert (played.calls["save_batch"], played.calls["commit_snapshot"]) == (batches, 1)


def test_busy_process_is_no_failure() -> None:
    """A batch for which a process has no room comes again behind the others, as often as that takes."""
    drive = Drive(3, {"save_batch": [{"ok": True, "files": 0, "bytes": 0, "whole": False, "busy": True}] * 20})
    played = back_up(drive)
    assert played.output["end"] == "done"
    assert (played.calls["save_batch"], played.calls["commit_snapshot"]) == (23, 1)


def test_turn_ends_before_its_history_is_long() -> None:
    """A drive of a thousand batches goes back to the queue after some, with a bounded history."""
    played = back_up(Drive(1000))
    assert played.output == {"end": "put-back", "seconds": 0, "reason": "turn"}
    assert sum(played.calls.values()) <= CALLS_MAX + GROUP + 1
    assert played.peak < 5 * CALLS_MAX


def test_feed_that_takes_long_is_read_on() -> None:
    """A plan that hands back the rest is asked again until there is none."""
    drive = Drive(1, {"plan_changes": [{"ok": True, "more": True}] * 5})
    played = back_up(drive)
    assert (played.output["end"], played.calls["plan_changes"]) == ("done", 6)


def test_short_pause_is_waited_for_and_long_one_is_not() -> None:
    """What Microsoft asks for up to ten minutes costs a timer; more frees the lane."""
    short = back_up(Drive(1, {"plan_changes": [failing("throttled", again=True, retry_after=300.0)]}))
    assert short.output["end"] == "done"
    assert short.seconds >= 300
    long = back_up(Drive(1, {"plan_changes": [failing("throttled", again=True, retry_after=1200.0)]}))
    assert long.output == {"end": "put-back", "seconds": 1200, "reason": "throttled"}
    assert long.seconds < WAIT_MAX_SECONDS


def test_throttled_batch_is_cut_again_after_the_pause() -> None:
    """A batch that handed back its rest makes the group wait, and the rest is fetched in the next round."""

    class Throttled(Drive):
        def _save(self, job: dict[str, Any]) -> Any:
            if job["batch"] == 2 and not any(name == "cut_batches" for name, _ in self.seen):
                return {"ok": True, "files": 0, "bytes": 0, "whole": False, "retry_after": 77.5}
            return super()._save(job)

    played = back_up(Throttled(3))
    assert played.output["end"] == "done"
    assert played.seconds >= 77.5
    assert played.calls["cut_batches"] == 1


def test_inconsistent_drive_is_enumerated_once_more() -> None:
    """State and feed that contradict each other lead to one new beginning without the state, not to many."""
    drive = Drive(1, {"commit_snapshot": [failing("inconsistent")]})
    assert back_up(drive).output["end"] == "done"
    plans = [job for name, job in drive.seen if name == "plan_changes"]
    assert [job["start_over"] for job in plans] == [False, True]
    assert [job.get("trust_state", True) for name, job in drive.seen if name == "commit_snapshot"] == [True, False]
    twice = Drive(1, {"plan_changes": [failing("inconsistent")] * 2})
    assert back_up(twice).output["reason"] == "inconsistent"


@pytest.mark.parametrize("step", ["plan_changes", "commit_snapshot"])
def test_final_trouble_ends_the_turn_with_its_reason(step: str) -> None:
    """What no further try can mend is reported at once."""
    played = back_up(Drive(1, {step: [failing("no-drive", message="There is no OneDrive.")]}))
    assert played.output == {"end": "failed", "reason": "no-drive", "message": "There is no OneDrive."}
    assert played.calls[step] == 1


def test_trouble_that_does_not_pass_ends_after_some_tries() -> None:
    """A storage that stays away is asked a few times, with growing pauses, and then reported."""
    played = back_up(Drive(1, {"plan_changes": [failing("storage-unreachable", again=True)] * 50}))
    assert played.output["reason"] == "storage-unreachable"
    assert played.calls["plan_changes"] == 4
    assert played.seconds > 60


def test_batches_that_always_fail_end_the_turn() -> None:
    """Rounds that bring nothing are not repeated for ever."""
    played = back_up(Drive(6, {"save_batch": [failing("internal", again=True)] * 500}))
    assert played.output["end"] == "failed"
    assert played.calls["save_batch"] < 60


def test_slow_drive_gives_way_when_others_wait() -> None:
    """After half an hour of work the drive goes to the end of the queue, if somebody else waits, and only then."""

    def slow(others: bool) -> Drive:
        class Slow(Drive):
            def _save(self, job: dict[str, Any]) -> Any:
                return {**super()._save(job), "others_wait": others}

        return Slow(40)

    late = at("save_batch", Mishap(late_seconds=300.0))
    assert back_up(slow(True), late).output == {"end": "put-back", "seconds": 0, "reason": "turn"}
    assert back_up(slow(False), late).output["end"] == "done"


@given(seed=st.integers(0), batches=st.integers(0, 14))
def test_activities_late_doubled_lost_and_failing(seed: int, batches: int) -> None:
    """Whatever befalls activities, the drive ends with a snapshot or a reason, and every replay agrees."""
    played = back_up(Drive(batches), by_chance(random.Random(seed), share=0.3, failing=True, late_seconds_max=120.0))
    assert played.output["end"] in ("done", "failed")
    if played.output["end"] == "done":
        assert played.output["summary"] == {"complete": True}


class Queue:
    """A tenant's queue of drives, each of which ends as it is told."""

    def __init__(self, drives: int) -> None:
        self.waiting = [f"a{number}" for number in range(drives)]
        self.ends: dict[str, Any] = {}

    def plays(self) -> dict[str, Any]:
        def plan(job: dict[str, Any]) -> Any:
            return failing("account-gone") if job["account"] == "a1" else SUMMARY

        return {"claim_next": self._claim, "plan_changes": plan, "finish_drive": self._finish}

    def _claim(self, job: dict[str, Any]) -> Any:
        if not self.waiting:
            return {"ok": False}
        return {"ok": True, "claim": {**CLAIM, "account": self.waiting.pop(0)}}

    def _finish(self, job: dict[str, Any]) -> Any:
        self.ends[job["account"]] = (job["end"], job.get("reason"))
        return {"ok": True}


@pytest.mark.parametrize("drives", [0, 1, 45])
def test_lane_works_off_the_queue(drives: int) -> None:
    """One drive's trouble stops no other, and a long queue is no long history."""
    queue = Queue(drives)
    played = play("lane", {"tenant": "t", "lane": "lane-t-0"}, queue.plays())
    assert played.output is None
    assert len(queue.ends) == drives
    assert [account for account, end in queue.ends.items() if end[0] == "failed"] == ["a1"][: drives > 1]
    assert played.peak < 250


def test_child_that_dies_is_reported_and_the_lane_goes_on() -> None:
    """A drive whose orchestration fails as a whole is finished as failed; the next one has its turn."""
    queue = Queue(3)
    plays = queue.plays()
    del plays["plan_changes"]  # the real activity runs without a claim, and its result is a failure
    played = play("lane", {"tenant": "t", "lane": "lane-t-0"}, {**plays, "plan_changes": lambda job: "no dict"})
    assert played.output is None
    assert {end[0] for end in queue.ends.values()} == {"failed"}
    assert len(queue.ends) == 3


def test_enrolment_goes_page_by_page_and_waits_when_told() -> None:
    """Each page hands its cursor to the next; a pause is waited for; the last page ends it."""
    pages = [{"ok": True, "next": "c1"}, {"ok": False, "next": None, "retry_after": 40}, {"ok": True, "next": None}]
    cursors: list[Any] = []

    def enrol_page(job: dict[str, Any]) -> Any:
        cursors.append(job["cursor"])
        return pages.pop(0)

    played = play("enrol_tenant", {"tenant": "t", "prove": ""}, {"enrol_page": enrol_page})
    assert played.output is None
    assert cursors == [None, "c1", "c1"]
    assert played.seconds >= 40


def test_consent_that_never_arrives_enrols_nobody() -> None:
    """The proof is tried for some time, and then given up."""
    tried: list[int] = []

    def prove(job: dict[str, Any]) -> Any:
        tried.append(1)
        return {"ok": False, "reason": "waiting", "retry_after": 10}

    played = play("enrol_tenant", {"tenant": "t", "prove": "somebody"}, {"prove_consent": prove})
    assert played.output is None
    assert 10 < len(tried) < 100
    assert played.seconds > 600
