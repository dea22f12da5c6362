"""What a run could not or did not save, with the path and the reason of each item."""

from dataclasses import dataclass, field

from backup_core.backup.job import Reported
from backup_core.backup.old_tree import OldTree
from backup_core.backup.plan import MISMATCHES, SKIPPED, Action, can_be_asked_for
from backup_core.backup.scratch import Planned, Scratch
from backup_core.repository.tree import item_key


@dataclass
class Report:
    """`retry`: item id -> reason, what the next run tries again: `failed`, but for what cannot be asked for by id."""

    skipped: list[Reported] = field(default_factory=list)
    failed: list[Reported] = field(default_factory=list)
    retry: dict[str, str] = field(default_factory=dict)


class Reporter:
    def __init__(self, scratch: Scratch, old: OldTree, root: bytes) -> None:
        self._scratch, self._old, self._root = scratch, old, root

    def report(self, waiting: dict[str, str], gone: list[str], whole: bool) -> Report:
        """`waiting`: the retry list that the run began with; `gone`: ids of it that answered 404.

        `whole`: the plan names everything there is, and what waited without being in it is gone like any other.
        """
        report = Report()
        for planned in self._scratch.with_reason():
            self._add(report, planned, planned.reason)
        for planned in self._scratch.with_action(Action.FETCH):
            if planned.saved is not None and planned.saved.reason and not _confirmed(planned):
                self._add(report, planned, planned.saved.reason)
        for item_id, reason in waiting.items():
            if whole or self._scratch.knows(item_id):
                continue
            path = self.path(item_key(item_id)) or item_id
            if item_id in gone:
                report.skipped.append(Reported(path, item_id, "gone"))
            else:
                report.retry[item_id] = reason
                report.failed.append(Reported(path, item_id, reason))
        return report

    def _add(self, report: Report, planned: Planned, reason: str) -> None:
        line = Reported(self.path(planned.key) or planned.item.name or planned.item.id, planned.item.id, reason)
        if reason in SKIPPED:
            report.skipped.append(line)
        else:
            report.failed.append(line)
            if can_be_asked_for(planned.item.id):
                report.retry[planned.item.id] = reason

    def path(self, key: bytes) -> str:
        """From the drive's root, without a leading slash; as far up as is known."""
        names: list[str] = []
        seen: set[bytes] = set()
        while key != self._root and key not in seen:
            seen.add(key)
            planned, old = self._scratch.get(key), self._scratch.old(key)
            stays = old is not None and planned is not None and planned.action is Action.STAY
            if planned is not None and planned.item.name and not stays:
                names.append(planned.item.name)
                key = self._scratch.parent(key)
            elif old is not None:
                names.append(old.node.true_name)
                key = old.parent
            elif key in self._old.names:
                names.append(self._old.names[key])
                key = self._old.parents[key]
            else:
                break
        return "/".join(reversed(names))


def _confirmed(planned: Planned) -> bool:
    """The bytes differ from their report, and came once more exactly as they are stored: the report is wrong."""
    old, saved = planned.old, planned.saved
    return (
        saved is not None
        and saved.reason in MISMATCHES
        and old is not None
        and old.verdict == "mismatch"
        and old.content == [chunk.hex() for chunk in saved.content]
    )
