"""How the simulated Microsoft 365 behaves where the real one varies: one switch each, changed at any time.

The defaults are an ordinary business tenant. What concerns a single item (malware, a wrong size, a lock) is set on
the drive, and a failure at one chosen request is a scripted fault: neither is a switch.
"""

from dataclasses import dataclass
from typing import Literal

NoDriveText = Literal["mysite-not-found", "mysite-url", "file-not-found", "no-licence"]


@dataclass
class Switches:
    seed: int = 0  # of everything that looks random: page sizes, repeats, lost entries

    # Pages of a feed or listing.
    page_size: int = 200  # most items of a page; `$top` can only lower it
    page_jitter: bool = False  # pages of varying size, some empty though more follow

    # The delta feed.
    parent_path: bool = False  # `parentReference.path` in the feed: the documentation says no, traffic often says yes
    repeats: bool = False  # some items come twice, an outdated entry first
    children_first: bool = False  # children before their parents
    tombstones_first: bool = False  # deleted items before all others
    descendant_tombstones: bool = False  # a deleted folder's content is listed as deleted too, not the folder alone
    catch_up: bool = True  # what changes while somebody pages is added to his feed; else it waits for the next delta
    drop_tombstones: float = 0.0  # share of deletions that the feed never tells (a known defect)
    drop_changes: float = 0.0  # share of additions and edits that a delta never tells; a first enumeration is whole
    delete_state: Literal["deleted", "softdeleted"] = "deleted"
    tombstone_leftovers: bool = False  # deleted items with size 0, dates of the year 1 and an all-zero hash
    position_seconds: float | None = None  # age at which delta and next links are refused; None: never
    resync_code: str = "resyncRequired"  # the code of that refusal, which Microsoft spells in at least five ways
    position_epoch: int = 0  # links made under another number are refused; see expire_positions

    # Items.
    hash_missing: bool = False  # no file has a hash
    empty_hash: bool = False  # a file of size 0 has the all-zero hash; else none
    package_folder: bool = True  # a notebook has the `folder` facet beside `package`
    personal_id_defects: bool = False  # personal ids change their case from call to call and lose a leading zero

    # Downloads.
    download_url_seconds: float = 3600  # by the simulation's clock
    strict_content: bool = False  # the content host refuses an Authorization header; else only on personal drives
    ignore_range: bool = False  # answers 200 with the whole file
    malware_as_html: bool = False  # the refusal of an infected file is a page, not JSON

    # Errors and limits.
    inner_error_key: Literal["innerError", "innererror"] = "innerError"
    no_drive_text: NoDriveText = "mysite-not-found"  # of whoever has no drive; a user may have a text of their own
    units_per_minute: int | None = None  # resource units of one app in one tenant and window; None: no throttling
    units_window_seconds: float = 60  # the length of that window: a test need not last minutes to meet its limit
    fractional_retry_after: bool = False  # `Retry-After: 2.128`, as Graph's own limit sends it

    def expire_positions(self) -> None:
        """Make every delta link and next link given out so far answer 410 Gone."""
        self.position_epoch += 1
