"""Which links are followed: a corpus of addresses that try to be mistaken for Microsoft's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_core.errors import Usage
from backup_core.graph.links import ForeignLink, LinkRule

RULE = LinkRule("https://graph.microsoft.com", ["files.example.org", "127.0.0.1", "::1"])

GOOD_CONTENT = [
    "https://contoso-my.sharepoint.com/personal/a/_layouts/15/download.aspx?UniqueId=1&tempauth=v1.eyJ",
    "https://CONTOSO-my.SharePoint.com/x",
    "https://contoso-my.sharepoint.com:443/x",
    "https://public.bn1302.files.1drv.com/y4m",
    "https://my.microsoftpersonalcontent.com/personal/x",
    "https://eastus1-mediap.svc.ms/transform",
    "https://files.example.org/x",
    "https://files.example.org:8443/x",
    "https://127.0.0.1:4443/x",
    "https://[::1]:4443/x",
]

FOREIGN = [
    "http://contoso-my.sharepoint.com/x",
    "https://sharepoint.com/x",
    "https://evilsharepoint.com/x",
    "https://sharepoint.com.evil.example/x",
    "https://contoso-my.sharepoint.com.evil.example/x",
    "https://contoso-my.sharepoint.com@evil.example/x",
    "https://user:password@contoso-my.sharepoint.com/x",
    "https://user@contoso-my.sharepoint.com/x",
    "https://@contoso-my.sharepoint.com/x",
    "https://evil.example/contoso-my.sharepoint.com",
    "https://evil.example#contoso-my.sharepoint.com",
    "https://evil.example?contoso-my.sharepoint.com",
    "https://evil.example\\@contoso-my.sharepoint.com/x",
    "https://contoso-my.sharepoint.com\\@evil.example/x",
    "https://contoso-my.sharepoint.com\\.evil.example/x",
    "https:/\\contoso-my.sharepoint.com/x",
    "https:\\\\contoso-my.sharepoint.com/x",
    "https:///contoso-my.sharepoint.com/x",
    "https:contoso-my.sharepoint.com/x",
    "//contoso-my.sharepoint.com/x",
    "/x",
    "",
    "https://",
    "https:///x",
    "https://.sharepoint.com/x",
    "https://contoso..sharepoint.com/x",
    "https://contoso.sharepoint.com./x",
    "https://-.sharepoint.com/x",
    "https://contoso.sharepoint.com:/x",
    "https://contoso.sharepoint.com:0/x",
    "https://contoso.sharepoint.com:444/x",
    "https://contoso.sharepoint.com:65536/x",
    "https://contoso.sharepoint.com:443@evil.example/x",
    "https://contoso.sharepoint.com:4 43/x",
    "https://contoso.sharepoint.com :443/x",
    " https://contoso.sharepoint.com/x",
    "https://contoso.sharepoint.com/x ",
    "https://contoso.sharepoint.com/x\n",
    "https://contoso.sharepoint.com/a b",
    "https://contoso.sharepoint.com/x\r\nHost: evil.example",
    "https://contoso.sharepoint.com\t/x",
    "https://con\ttoso.sharepoint.com/x",
    "https://evil.example\x00.sharepoint.com/x",
    "https://evil.example%00.sharepoint.com/x",
    "https://evil.example%2f.sharepoint.com/x",
    "https://evil.example%23.sharepoint.com/x",
    "https://evil.example/.sharepoint.com/x",
    "https://evil.example;.sharepoint.com/x",
    "https://evil.example,contoso.sharepoint.com/x",
    "https://contoso。sharepoint.com/x",
    "https://contoso.sharepoint。com/x",
    "https://contoso.sharepoint．com/x",
    "https://contoso.ѕharepoint.com/x",
    "https://contoso\u212a.sharepoint.com/x",  # the Kelvin sign, a k in small letters
    "https://contoſo.sharepoint.com/x",
    "https://contoso.sharepoint.com\u2044evil.example/x",
    "https://ⓒontoso.sharepoint.com/x",
    "https://169.254.169.254/metadata/instance",
    "https://169.254.169.254:443/x",
    "https://10.0.0.1/x",
    "https://0/x",
    "https://0x7f.1/x",
    "https://2130706433/x",
    "https://017700000001/x",
    "https://127.1/x",
    "https://127.0.0.2/x",
    "https://127.0.0.1.evil.example/x",
    "https://[::ffff:169.254.169.254]/x",
    "https://[fd00::1]/x",
    "https://[::1%25eth0]/x",
    "https://[::1].sharepoint.com/x",
    "https://[contoso.sharepoint.com]/x",
    "https://localhost/x",
    "https://metadata.google.internal/x",
    "https://files.example.org.evil.example/x",
    "https://xfiles.example.org/x",
    "https://sub.files.example.org/x",
    "http://files.example.org/x",
    "http://127.0.0.1:4443/x",
    "ftp://contoso.sharepoint.com/x",
    "file:///etc/passwd",
    "gopher://contoso.sharepoint.com/x",
    "javascript:alert(1)//contoso.sharepoint.com",
    "data:text/plain,contoso.sharepoint.com",
    "HTTPS //contoso.sharepoint.com/x",
    "https://contoso.sharepoint.us/x",
    "https://contoso.sharepoint.cn/x",
    "https://contoso.1drv.com.co/x",
    "https://graph.microsoft.com/v1.0/x",
]

FOREIGN_TO_GRAPH = [
    "http://graph.microsoft.com/v1.0/me",
    "https://graph.microsoft.com:8443/v1.0/me",
    "https://graph.microsoft.com.evil.example/v1.0/me",
    "https://graph.microsoft.com@evil.example/v1.0/me",
    "https://evil.example/graph.microsoft.com",
    "https://sub.graph.microsoft.com/v1.0/me",
    "https://graph.microsoft.us/v1.0/me",
    "https://graph.microsoft.com./v1.0/me",
    "https://files.example.org/v1.0/me",
    "https://127.0.0.1/v1.0/me",
    "https://contoso-my.sharepoint.com/v1.0/me",
    "//graph.microsoft.com/v1.0/me",
    "https:/\\graph.microsoft.com/v1.0/me",
    "https://graph.microsoft.com\\@evil.example/",
    "https://graph。microsoft.com/v1.0/me",
    "",
]


@pytest.mark.parametrize("link", GOOD_CONTENT)
def test_content_hosts(link: str) -> None:
    """Microsoft's hosts on https, and hosts that the user has named on any port, deliver content."""
    assert link == RULE.check_content(link)


@pytest.mark.parametrize("link", FOREIGN)
def test_no_other_host_delivers_content(link: str) -> None:
    """Nothing that merely looks like Microsoft is followed, and its path and query are not repeated to anybody."""
    with pytest.raises(ForeignLink) as caught:
        RULE.check_content(link)
    assert "metadata/instance" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("link", FOREIGN_TO_GRAPH)
def test_a_token_goes_to_graph_alone(link: str) -> None:
    """Scheme, host and port are exactly Graph's; an allowed content host is none."""
    with pytest.raises(ForeignLink):
        RULE.check_graph(link)


def test_graph_itself() -> None:
    """Case and an explicit default port make no difference."""
    for link in ("https://graph.microsoft.com/v1.0/me?$select=id", "https://GRAPH.microsoft.com:443/v1.0/me"):
        assert link == RULE.check_graph(link)


def test_a_simulated_graph() -> None:
    """A Graph on loopback with a port takes that port only."""
    rule = LinkRule("https://localhost:4443/")
    assert rule.leads_to_graph("https://localhost:4443/v1.0/me")
    assert not rule.leads_to_graph("https://localhost:4444/v1.0/me")
    assert not rule.leads_to_graph("https://localhost/v1.0/me")


@pytest.mark.parametrize("url", ["http://graph.microsoft.com", "graph.microsoft.com", "https://a@b", ""])
def test_a_token_is_never_sent_in_clear(url: str) -> None:
    """A Graph address that is not https, or cannot be read, is refused before anything is sent."""
    with pytest.raises(Usage):
        LinkRule(url)


@pytest.mark.parametrize(("cloud", "host"), [("usgov", "a.sharepoint.us"), ("china", "a.sharepoint.cn")])
def test_national_clouds(cloud: str, host: str) -> None:
    """Each cloud has its own content hosts, and not those of another."""
    rule = LinkRule("https://graph.example", cloud=cloud)
    assert rule.check_content(f"https://{host}/x")
    with pytest.raises(ForeignLink):
        rule.check_content("https://a.sharepoint.com/x")


@given(st.text(max_size=30), st.text(max_size=10))
def test_no_text_before_or_after_makes_a_host_microsofts(before: str, after: str) -> None:
    """What is followed is a link whose host both the standard library and we read as Microsoft's."""
    from urllib.parse import urlsplit

    link = f"https://{before}.sharepoint.com{after}"
    try:
        RULE.check_content(link)
    except ForeignLink:
        return
    parts = urlsplit(link)
    assert parts.hostname is not None and parts.hostname.endswith(".sharepoint.com")
    assert (parts.username, parts.port) in ((None, None), (None, 443))
