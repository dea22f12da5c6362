"""The feed of changes: pages, positions that are lost, and feeds that go wrong."""

from collections.abc import Callable
from typing import Any

import pytest
import responses

from backup_core.errors import DrivekeepError, Inconsistent, NotFound, Temporary
from backup_core.graph.delta import DeltaFeed, DeltaPage, PositionLost
from backup_core.graph.items import SELECT
from backup_core.graph.links import ForeignLink

DELTA = "https://graph.microsoft.com/v1.0/drives/b!x/root/delta"
FIRST = f"{DELTA}?$select={SELECT}&$top=999"
ITEM = {"id": "01A", "name": "a", "file": {}, "size": 1}

Graph = responses.RequestsMock
Body = Callable[..., dict[str, object]]


def next_link(token: str) -> str:
    return f"{DELTA}?token={token}"


def test_pages_to_the_end(world: Any, graph: Graph) -> None:
    """Pages follow their links, empty ones too, until a delta link ends them."""
    graph.get(FIRST, json={"value": [ITEM], "@odata.nextLink": next_link("2")})
    graph.get(next_link("2"), json={"value": [], "@odata.nextLink": next_link("3")})
    graph.get(next_link("3"), json={"value": [{**ITEM, "deleted": {}}], "@odata.deltaLink": next_link("d")})
    feed = DeltaFeed(world.client(), "b!x")
    first = feed.page(feed.first_link())
    second = feed.page(first.next_link)
    third = feed.page(second.next_link)
    assert ([item.id for item in first.items], second) == (["01A"], DeltaPage([], next_link("3")))
    assert ([item.kind for item in third.items], third.next_link, third.delta_link) == (["deleted"], "", next_link("d"))
    assert "deleted" in graph.calls[0].request.params["$select"]


def test_a_folder_and_the_position_of_now(world: Any, graph: Graph) -> None:
    """A folder has a feed of its own; token=latest gives a position without an enumeration."""
    url = "https://graph.microsoft.com/v1.0/drives/b!x/items/01F/delta"
    graph.get(url, json={"value": [], "@odata.deltaLink": f"{url}?token=now"})
    assert DeltaFeed(world.client(), "b!x", "01F").latest_link() == f"{url}?token=now"
    assert graph.calls[0].request.params["token"] == "latest"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (410, "resyncRequired"),
        (410, "resyncChangesApplyDifferences"),
        (410, "SyncStateNotFound"),
        (410, ""),
        (400, "invalidRequest"),
        (404, "itemNotFound"),
    ],
)
def test_position_lost(world: Any, graph: Graph, error_body: Body, status: int, code: str) -> None:
    """However Microsoft says that it no longer knows a stored link, it means: enumerate again."""
    location = {"Location": "https://evil.example/fresh"}
    graph.get(next_link("old"), status=status, json=error_body(code, "Resync required"), headers=location)
    with pytest.raises(PositionLost) as caught:
        DeltaFeed(world.client(), "b!x").page(next_link("old"))
    assert isinstance(caught.value, Inconsistent)
    assert "old" not in str(caught.value)
    assert {call.request.url for call in graph.calls} == {next_link("old")}


def test_lost_without_a_body(world: Any, graph: Graph) -> None:
    """410 counts by its status, whatever its body is."""
    graph.get(next_link("old"), status=410, body="<html>")
    with pytest.raises(PositionLost):
        DeltaFeed(world.client(), "b!x").page(next_link("old"))


def test_a_missing_drive_is_no_lost_position(world: Any, graph: Graph, error_body: Body) -> None:
    """At the first link, and where the whole drive is missing, asking anew would go round for ever."""
    graph.get(FIRST, status=404, json=error_body("itemNotFound"))
    feed = DeltaFeed(world.client(), "b!x")
    with pytest.raises(NotFound):
        feed.page(feed.first_link())
    graph.get(next_link("t"), status=404, json=error_body("ResourceNotFound", "User's mysite not found."))
    with pytest.raises(DrivekeepError) as caught:
        feed.page(next_link("t"))
    assert caught.value.reason == "no-drive"


@pytest.mark.parametrize(
    "page", [{"value": []}, {}, {"value": None, "@odata.deltaLink": DELTA}, {"value": [], "@odata.nextLink": 7}]
)
def test_a_page_that_leads_nowhere(world: Any, graph: Graph, page: dict[str, object]) -> None:
    """A page without a link or a list is asked for again, and never taken for the end of the feed."""
    graph.get(next_link("1"), json=page)
    with pytest.raises(Temporary):
        DeltaFeed(world.client(retries=2), "b!x").page(next_link("1"))
    assert len(graph.calls) == 3


def test_a_feed_in_a_circle(world: Any, graph: Graph) -> None:
    """A next link that was read already ends the enumeration; a new one may pass there again."""
    graph.get(FIRST, json={"value": [], "@odata.nextLink": next_link("2")})
    graph.get(next_link("2"), json={"value": [], "@odata.nextLink": next_link("3")})
    graph.get(next_link("3"), json={"value": [], "@odata.nextLink": next_link("2")})
    feed = DeltaFeed(world.client(), "b!x")
    for _ in range(2):
        feed.page(feed.first_link())
        feed.page(next_link("2"))
        with pytest.raises(Inconsistent, match="circle") as caught:
            feed.page(next_link("3"))
        assert not isinstance(caught.value, PositionLost)


def test_a_page_may_be_asked_for_again(world: Any, graph: Graph) -> None:
    """Reading the same page twice, after a failure of ours, is no circle."""
    graph.get(next_link("1"), json={"value": [], "@odata.nextLink": next_link("2")})
    feed = DeltaFeed(world.client(), "b!x")
    assert feed.page(next_link("1")) == feed.page(next_link("1"))


@pytest.mark.parametrize("name", ["@odata.nextLink", "@odata.deltaLink"])
def test_a_link_to_another_host_is_not_kept(world: Any, graph: Graph, name: str) -> None:
    """A page whose link leads away from Graph is refused whole, and its link neither followed nor stored."""
    graph.get(FIRST, json={"value": [ITEM], name: "https://evil.example/delta?token=1"})
    feed = DeltaFeed(world.client(), "b!x")
    with pytest.raises(ForeignLink):
        feed.page(feed.first_link())


def test_a_stored_link_of_another_host(world: Any, graph: Graph) -> None:
    """A stored position of another Graph address costs an enumeration, and the token never goes there."""
    with pytest.raises(PositionLost):
        DeltaFeed(world.client(), "b!x").page("https://evil.example/v1.0/drives/b!x/root/delta?token=1")
    assert len(graph.calls) == 0


def test_no_list_of_changes(world: Any, graph: Graph, error_body: Body) -> None:
    """A cloud without delta is told apart from trouble, with the way around it."""
    graph.get(FIRST, status=501, json=error_body("notSupported"))
    feed = DeltaFeed(world.client(), "b!x")
    with pytest.raises(DrivekeepError) as caught:
        feed.page(feed.first_link())
    assert "-source onedrive" in caught.value.remedy


def test_an_item_without_an_id_is_not_lost(world: Any, graph: Graph) -> None:
    """What cannot be used is handed on as unknown, for the report, and does not stop the page."""
    graph.get(FIRST, json={"value": [ITEM, {"name": "no id", "file": {}, "size": 1}, None], "@odata.deltaLink": DELTA})
    feed = DeltaFeed(world.client(), "b!x")
    assert [item.kind for item in feed.page(feed.first_link()).items] == ["file", "unknown", "unknown"]
