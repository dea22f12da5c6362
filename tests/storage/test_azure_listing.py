"""Azure's listings as they come over the wire, also those that Azurite never sends."""

from backup_core.storage.azure_listing import read_page
from backup_core.storage.store import Stored

PAGE = """\ufeff<?xml version="1.0" encoding="utf-8"?>
<EnumerationResults ServiceEndpoint="https://vault.blob.core.windows.net/" ContainerName="box"><Prefix>p/</Prefix>
<Blobs>
<Blob><Name>p/config</Name><Properties><Creation-Time>Wed, 01 Jan 2020 00:00:00 GMT</Creation-Time>
<Last-Modified>Thu, 02 Jan 2020 03:04:05 GMT</Last-Modified><Etag>0x8</Etag><Content-Length>155</Content-Length>
<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier></Properties><OrMetadata /></Blob>
<Blob><Name>p/data</Name><Properties><ResourceType>directory</ResourceType>
<Last-Modified>Thu, 02 Jan 2020 03:04:05 GMT</Last-Modified><Content-Length>0</Content-Length></Properties></Blob>
<Blob><Name Encoded="true">p/odd%EF%BF%BE%25</Name><Properties>
<Last-Modified>Thu, 01 Jan 1970 00:00:10 GMT</Last-Modified><Content-Length>0</Content-Length></Properties></Blob>
<Blob><Name>p/percent%20&amp;more</Name><Properties>
<Last-Modified>Thu, 01 Jan 1970 00:00:10 GMT</Last-Modified><Content-Length>7</Content-Length></Properties></Blob>
</Blobs><NextMarker>more</NextMarker></EnumerationResults>"""


def test_a_page_is_read_as_azure_writes_it() -> None:
    """Names, sizes and times are taken over; folders of a hierarchical namespace are no objects."""
    assert list(read_page(PAGE.encode())) == [
        Stored("p/config", 155, 1577934245.0),
        Stored("p/odd\ufffe%", 0, 10.0),
        Stored("p/percent%20&more", 7, 10.0),
    ]


def test_a_page_without_objects_is_empty() -> None:
    """The last page of a listing may hold nothing."""
    assert list(read_page(b"<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>")) == []
