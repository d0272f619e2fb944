"""The services' XML: what is taken from it, and what is refused."""

from __future__ import annotations

import pytest

from myop_cdn.storage.flat_xml import flat


def test_an_item_s_elements_are_told_apart_by_their_path() -> None:
    page = flat(
        b'\xef\xbb\xbf<?xml version="1.0"?><Results At="x"><Prefix>p</Prefix><Blobs>'
        b"<Blob><Name>a</Name><Properties><Etag>1</Etag></Properties>"
        b"<Metadata><Name>not the key</Name><Blob>nor an item</Blob></Metadata></Blob>"
        b"<Blob><Name>b</Name><Properties/></Blob>"
        b"</Blobs><NextMarker>m</NextMarker></Results>",
        "Blob",
    )
    assert [item["Name"] for item in page.items] == ["a", "b"]
    assert page.items[0]["Properties/Etag"] == "1"
    assert page.items[0]["Metadata/Name"] == "not the key"
    assert page.fields["NextMarker"] == "m"
    assert "Name" not in page.fields


def test_a_name_that_xml_can_not_hold_is_decoded() -> None:
    page = flat(b'<R><Blob><Name Encoded="true">a%EF%BF%BE%25</Name><X>%25</X></Blob></R>', "Blob")
    assert page.items == [{"Name": "a\ufffe%", "X": "%25"}]


def test_a_document_type_is_refused() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    with pytest.raises(ValueError, match="document type"):
        flat(bomb)


@pytest.mark.parametrize("data", [b"", b"{}", b"<a>", b"<a></b>", b"\xff"])
def test_what_is_not_xml_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not XML"):
        flat(data)


@pytest.mark.parametrize(
    "data",
    [
        b"<Blob>" * 100_000,
        b"<Blob>" + b"<a>" * 100_000,
        b"<R>" + b"<Blob/>" * 100_000 + b"</R>",
        b"<R>" + b"".join(b"<a%d/>" % number for number in range(50_000)) + b"</R>",
        b"<R><Blob>" + b"".join(b"<a%d/>" % number for number in range(50_000)) + b"</Blob></R>",
    ],
)
def test_what_is_nested_or_repeated_without_end_is_refused_at_once(data: bytes) -> None:
    """Each path of 683 KB of nested elements would be as long as all of them together."""
    with pytest.raises(ValueError, match="more elements"):
        flat(data, "Blob")
