"""A place: parsed from an address, walked, and turned into text again."""

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from napari_omezarr.errors import LocationError
from napari_omezarr.location import Location, parse_many

quick = settings(max_examples=200, deadline=None)
SECRET = "s3cr3tSignature"
POINT = "arn:aws:s3:eu-west-1:123456789012"


def fields(location):
    return location.protocol, location.root, location.path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/x.zarr", ("s3", "bucket", "x.zarr")),
        ("S3://Bucket_A/X.ZARR///", ("s3", "Bucket_A", "X.ZARR")),
        ("s3a://bucket/a//b", ("s3", "bucket", "a//b")),
        ("s3:/bucket/x", ("s3", "bucket", "x")),
        ("s3://bucket", ("s3", "bucket", "")),
        ("arn:aws:s3:::bucket/x.zarr", ("s3", "bucket", "x.zarr")),
        (f"{POINT}:accesspoint/ap/x", ("s3", f"{POINT}:accesspoint:ap", "x")),
        (f"{POINT}:accesspoint/ap", ("s3", f"{POINT}:accesspoint:ap", "")),
        (f"{POINT}:accesspoint:ap/object/x", ("s3", f"{POINT}:accesspoint:ap", "x")),
        (f"s3://{POINT}:accesspoint/ap/a/x", ("s3", f"{POINT}:accesspoint:ap", "a/x")),
        (
            f"s3://{POINT}:accesspoint/ap/object/x",
            ("s3", f"{POINT}:accesspoint:ap", "object/x"),
        ),
        (
            f"s3+http://h:90/{POINT}:accesspoint/ap/a@b",
            ("s3", f"{POINT}:accesspoint:ap", "a@b"),
        ),
        ("s3://data--use1-az4--x-s3/x", ("s3", "data--use1-az4--x-s3", "x")),
        ("gcs://bucket/x", ("gs", "bucket", "x")),
        ("az://container/x", ("az", "container", "x")),
        ("memory://a/x.zarr", ("memory", "", "a/x.zarr")),
        ("HTTPS://Host.ORG:443/a/x.zarr/", ("https", "host.org", "a/x.zarr")),
        ("http://host:8080/x", ("http", "host:8080", "x")),
        ("http://[::1]:9000/x", ("http", "[::1]:9000", "x")),
        ("https://bücher.example/x", ("https", "xn--bcher-kva.example", "x")),
        ("https://host/a/./b/../x.zarr", ("https", "host", "a/x.zarr")),
        ("https://host/../../x", ("https", "host", "x")),
        ("https://host/x.zarr#part", ("https", "host", "x.zarr")),
        ("https://host", ("https", "host", "")),
        ("localhost:8000/x.zarr", ("http", "localhost:8000", "x.zarr")),
        ("10.0.0.7:9000/x.zarr", ("http", "10.0.0.7:9000", "x.zarr")),
        ("www.host.org/x.zarr", ("https", "www.host.org", "x.zarr")),
        ("s3.embl.de/i2k-2020/x", ("https", "s3.embl.de", "i2k-2020/x")),
        ("file:///data/a%20b.zarr", ("file", "", "data/a b.zarr")),
        ("file:/data/x", ("file", "", "data/x")),
        ("file://localhost/data/x", ("file", "", "data/x")),
        ("file:///C:/data/x", ("file", "C:", "data/x")),
        ("file://C:/data/x", ("file", "C:", "data/x")),
        ("file:///c%3A/data/x", ("file", "C:", "data/x")),
        ("file://server/share/x", ("file", "//server/share", "x")),
        ("/data//x.zarr/", ("file", "", "data/x.zarr")),
        ("/", ("file", "", "")),
        ("/data/what?.zarr", ("file", "", "data/what?.zarr")),
        ("/data/100%25#.zarr", ("file", "", "data/100%25#.zarr")),
        ("c:\\data\\x.zarr", ("file", "C:", "data/x.zarr")),
        ("C:/data/x.zarr", ("file", "C:", "data/x.zarr")),
        ("\\\\?\\C:\\data\\x", ("file", "C:", "data/x")),
        ("\\\\?\\UNC\\server\\share\\x", ("file", "//server/share", "x")),
        ("\\\\server\\share\\a\\x.zarr", ("file", "//server/share", "a/x.zarr")),
    ],
)
def test_an_address_is_parsed_by_its_syntax(text, expected):
    assert fields(Location.parse(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n\t",
        '""',
        "javascript:alert(1)",
        "mailto:me@host.org",
        "ftp://host/x.zarr",
        "arn:aws:s3::123456789012:accesspoint/x.mrap/a",
        "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op/accesspoint/ap/a",
        "s3://",
        "s3:///x.zarr",
        "s3://buc ket/x.zarr",
        "gs://",
        "s3+https://?X-Amz-Signature=x",
        "s3+https:///bucket/x",
        "gs+https://host/",
        "s3+ftp://host/bucket/x",
        "https://",
        "https:///x.zarr",
        "https://?x=1",
        "http:host/x",
        "https://host:99999/x",
        "https://host:port/x",
        "https://ho st/x",
        "https://a..b/x",
        "http://[::zz]/x",
        "http://[1::2::3]/x",
        "https://bü..cher.example/x",
        "x y://host/x|zip:a|zip:b https://",
        "https://host/\ud800.zarr",
        "/data/\0.zarr",
        "\\\\server",
        "file://server",
        "precomputed://https://host/x",
        "https://host/x|n5:",
        "https://host/a.zip/b.zip|zip:c",
    ],
)
def test_what_is_no_address_is_refused_with_an_action(text):
    with pytest.raises(LocationError) as failure:
        Location.parse(text)
    assert failure.value.sentence.endswith(".")
    assert failure.value.action.endswith(".")


def test_a_relative_path_starts_at_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = Location.parse(tmp_path)
    assert Location.parse("a/x.zarr") == here / "a" / "x.zarr"
    assert Location.parse("../x.zarr") == here.parent / "x.zarr"
    assert Location.parse(Path("x.zarr")).local_path() == tmp_path / "x.zarr"


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert Location.parse("~/x.zarr").local_path() == tmp_path / "x.zarr"
    assert Location.parse("~").local_path() == tmp_path


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps the working directory")
def test_a_lost_working_directory_is_said(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(LocationError, match="does not exist"):
        Location.parse("x.zarr")


@pytest.mark.parametrize(
    ("mangled", "address"),
    [
        ("/cwd/s3:/bucket/x.zarr", "s3://bucket/x.zarr"),
        ("/home/me/s3://bucket/out.ome.zarr", "s3://bucket/out.ome.zarr"),
        ("/home/me/https:/host/x.zarr?a=1", "https://host/x.zarr?a=1"),
        ("C:\\Users\\me\\s3:\\bucket\\x.zarr", "s3://bucket/x.zarr"),
        ("/home/me/s3+http:/localhost:1/b/x", "s3+http://localhost:1/b/x"),
        (PurePosixPath("https://host/x.zarr"), "https://host/x.zarr"),
        (PurePosixPath("/home/me/gs:/bucket/x"), "gs://bucket/x"),
    ],
)
def test_an_address_that_became_a_path_is_recovered(mangled, address):
    assert Location.parse(mangled) == Location.parse(address)


def test_a_path_object_is_taken_by_the_letter():
    location = Location.parse(PurePosixPath("/data/ 'x' <y>\n|zip:z.zarr "))
    assert location.path == "data/ 'x' <y>\n|zip:z.zarr "
    assert Location.parse(str(location)) == location


@pytest.mark.parametrize(
    "text",
    [
        "https://host/a b/ü+#.zarr".replace("#", "%23"),
        "https://host/a%20b/%C3%BC%2B%23.zarr",
        "https://host/a b/%c3%bc+%23.zarr/",
    ],
)
def test_decoded_and_encoded_paths_are_one_place(text):
    location = Location.parse(text)
    assert location.path == "a b/ü+#.zarr"
    assert location.url("0/a?") == "https://host/a%20b/%C3%BC%2B%23.zarr/0/a%3F"


def test_a_lone_percent_sign_is_a_percent_sign():
    assert Location.parse("https://host/100%.zarr").url() == "https://host/100%25.zarr"


def test_bytes_that_are_no_text_come_back():
    assert Location.parse("https://host/%FF.zarr").url() == "https://host/%FF.zarr"


@pytest.mark.parametrize("path", ["x y.zarr", "x%20y.zarr"])
def test_the_query_goes_with_every_key_as_it_was_pasted(path):
    query = "sv=2024&sig=ab%2Fc%3D+d"
    location = Location.parse(f"https://host/{path}?{query}")
    assert location.query == query
    assert location.url() == f"https://host/x%20y.zarr?{query}"
    assert (location / "0").url("c/0/1") == f"https://host/x%20y.zarr/0/c/0/1?{query}"


def test_what_is_illegal_in_a_query_is_encoded_once():
    location = Location.parse("https://host/x.zarr?a=b c|ü%&d=%20")
    assert location.url() == "https://host/x.zarr?a=b%20c%7C%C3%BC%25&d=%20"
    assert Location.parse(location.url()) == location


@pytest.mark.parametrize("text", ["s3://b/x?y#z.zarr", "gs://b/x?y#z.zarr"])
def test_object_keys_keep_their_question_marks(text):
    location = Location.parse(text)
    assert location.path == "x?y#z.zarr"
    assert location.query == ""


def test_an_azure_address_names_its_account_and_keeps_its_signature():
    text = f"abfss://box@lab.dfs.core.windows.net/x.zarr?sv=1&sig={SECRET}"
    location = Location.parse(text)
    assert fields(location) == ("az", "box", "x.zarr")
    assert location.endpoint == "https://lab.blob.core.windows.net"
    assert location.query == f"sv=1&sig={SECRET}"
    assert Location.parse(str(location)) == location


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("az+http://127.0.0.1:10000/lab/box/a", "http://127.0.0.1:10000/lab"),
        ("az://127.0.0.1:10000/lab/box/a", "http://127.0.0.1:10000/lab"),
        ("az+http://[::1]:9/lab/box/a", "http://[::1]:9/lab"),
        ("az+http://localhost/lab/box/a", "http://localhost/lab"),
        ("az+http://azurite:9/lab/box/a", "http://azurite:9/lab"),
        ("az+https://azure.lab.org:10000/lab/box/a", "https://azure.lab.org:10000/lab"),
        ("az+https://files.lab.org/box/a", "https://files.lab.org"),
        (
            "az+https://lab.blob.core.windows.net/box/a",
            "https://lab.blob.core.windows.net",
        ),
        (
            "az+https://lab.dfs.core.windows.net/box/a",
            "https://lab.blob.core.windows.net",
        ),
        (
            "az+https://lab.blob.local.azurestack.external/box/a",
            "https://lab.blob.local.azurestack.external",
        ),
    ],
)
def test_the_account_is_the_hosts_name_or_the_first_folder(text, endpoint):
    location = Location.parse(text)
    assert fields(location) == ("az", "box", "a")
    assert location.endpoint == endpoint
    assert Location.parse(str(location / "b")) == location / "b"
    with pytest.raises(LocationError, match="names no bucket"):
        Location.parse(text.removesuffix("/box/a"))


@pytest.mark.parametrize(
    "text",
    [
        f"s3://AKIAEXAMPLE:{SECRET}@bucket/x",
        f"s3://AKIAEXAMPLE:ab/{SECRET}@bucket/x",
        f"s3+https://AKIAEXAMPLE:{SECRET}@host/bucket/x",
        f"s3://bucket/x.zarr?X-Amz-Signature={SECRET}",
        f"gs://bucket/x.zarr?X-Goog-Signature={SECRET}",
        f"ftp://me:{SECRET}@host/x",
        f"https://me:{SECRET}@host:port/x?sig={SECRET}",
        f"https://host/?source={SECRET}\nhttps://host/x?sig={SECRET}",
        f"https://neuroglancer/#!{{'{SECRET}'",
        f"{SECRET}:x",
    ],
)
def test_a_secret_that_cannot_be_used_is_not_told_either(text):
    with pytest.raises(LocationError):
        Location.parse(text)
    assert not [told for told in told_about(text) if SECRET.lower() in told.lower()]


def test_no_secret_shows():
    text = f"https://me:{SECRET}@host/x.zarr?sig={SECRET}"
    location = Location.parse(text)
    assert SECRET in location.url("zarr.json")
    assert Location.parse(str(location)) == location
    assert not [told for told in told_about(text) if SECRET in told]
    assert location.display == "https://host/x.zarr"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("s3://b/x.zarr/zarr.json", "x.zarr"),
        ("s3://b/x.zarr/.zattrs", "x.zarr"),
        ("s3://b/x.zarr/0/.zarray", "x.zarr/0"),
        ("s3://b/no-suffix/labels/cells/.zgroup", "no-suffix/labels/cells"),
        ("s3://b/x.zarr/.zmetadata", "x.zarr"),
        ("s3://b/zarr.json", ""),
        ("s3://b/x.zarr/OME/METADATA.ome.xml", "x.zarr"),
        ("s3://b/x.zarr/OME/zarr.json", "x.zarr/OME"),
        ("s3://b/x.zarr/0/c/0/0/0", "x.zarr/0"),
        ("s3://b/x.zarr/labels/cells/0/c/12/0", "x.zarr/labels/cells/0"),
        ("s3://b/x.zarr/0/0.0.0.0", "x.zarr/0"),
        ("s3://b/x.zarr/s0/3.14", "x.zarr/s0"),
        ("s3://b/x.zarr/0/0/0/0/0", "x.zarr/0"),
        ("s3://b/x.zarr/labels/cells/0/0/0/0/0", "x.zarr/labels/cells/0"),
        ("s3://b/plate.zarr/A/1/0/0/0/0/0/0", "plate.zarr/A/1/0"),
        # a node, or perhaps one: stays
        ("s3://b/x.zarr/0", "x.zarr/0"),
        ("s3://b/x.zarr/labels/cells", "x.zarr/labels/cells"),
        ("s3://b/plate.zarr/A/1/0/0", "plate.zarr/A/1/0/0"),
        ("s3://b/plate.zarr/1/1/0/0", "plate.zarr/1/1/0/0"),
        ("s3://b/plate.zarr/c/1/0", "plate.zarr/c/1/0"),
        ("s3://b/x.zarr/v0.4", "x.zarr/v0.4"),
        ("s3://b/x.zarr/raw/0.4", "x.zarr/raw/0.4"),
        ("s3://b/2024/10/0/0/0/0", "2024/10/0/0/0/0"),
        ("s3://b/data/c/0/0", "data/c/0/0"),
    ],
)
def test_a_file_of_a_store_leads_to_its_node(text, path):
    assert Location.parse(text).path == path


@pytest.mark.parametrize(
    ("text", "path", "member"),
    [
        ("https://h/a/x.ozx?download=1", "a/x.ozx", ""),
        ("https://h/a/x.OZX/labels/cells", "a/x.OZX", "labels/cells"),
        ("/data/x.zarr.zip/0/zarr.json", "data/x.zarr.zip", "0"),
        ("s3://b/x.zip/x.zarr/0/c/0/0", "x.zip", "x.zarr/0"),
        ("s3://b/x.ozx/0/0/0/0/0", "x.ozx", "0"),
        ("https://h/x.dat|zip:in/|zarr3:0", "x.dat", "in/0"),
        ("https://h/x.zip/|zip:in/|zarr2:", "x.zip", "in"),
        ("zip://in/x.zarr::s3://b/x.zip", "x.zip", "in/x.zarr"),
        ("simplecache::zip::s3://b/x.zip", "x.zip", ""),
        ("s3://b/x.zarr", "x.zarr", None),
        ("s3://b/zips/x.zipped", "zips/x.zipped", None),
    ],
)
def test_an_archive_is_split_from_what_lies_in_it(text, path, member):
    location = Location.parse(text)
    assert (location.path, location.member) == (path, member)
    assert location.is_archive is (member is not None)
    assert Location.parse(str(location)) == location


def test_one_walks_into_an_archive_and_out_again():
    folder = Location.parse("s3://b/a")
    archive = folder / "x.ozx"
    assert archive.member == ""
    assert (archive / "labels/cells").member == "labels/cells"
    assert (archive / "labels").parent == archive
    assert archive.parent == folder
    assert (archive / "labels" / "../../..").member == ""


def test_one_walks_down_and_up_but_not_above_the_root():
    image = Location.parse("https://host/a/x.zarr?sig=1")
    cells = image / "labels" / "cells"
    assert cells.url() == "https://host/a/x.zarr/labels/cells?sig=1"
    assert cells / "../../" == image
    assert cells / "/0/" == cells / "0"
    assert cells / "" == cells / "." == cells
    root = Location.parse("https://host/?sig=1")
    assert image / "../../../.." == root
    assert root.parent == root
    assert Location.parse(str(root)) == root


@pytest.mark.parametrize(
    ("text", "name", "stem"),
    [
        ("s3://b/cells.ome.zarr", "cells.ome.zarr", "cells"),
        ("s3://b/cells.OME.ZARR.zip", "cells.OME.ZARR.zip", "cells"),
        ("s3://b/cells.v1.ozx/0", "0", "0"),
        ("s3://b/a/cells.v1.ozx", "cells.v1.ozx", "cells.v1"),
        ("s3://b/.zarr", ".zarr", ".zarr"),
        ("s3://bucket", "bucket", "bucket"),
        ("https://host:80/", "host:80", "host:80"),
        ("C:\\", "C:", "C:"),
        ("\\\\server\\share", "share", "share"),
    ],
)
def test_a_place_has_a_name_for_people(text, name, stem):
    location = Location.parse(text)
    assert (location.name, location.stem) == (name, stem)


@pytest.mark.parametrize(
    ("text", "owners"),
    [
        ("s3://b/a/x.zarr", []),
        ("s3://b/a/x.zarr/0", ["x.zarr"]),
        ("s3://b/a/x.zarr/labels/cells/0", ["cells", "labels", "x.zarr"]),
        ("s3://b/p.zarr/A/1/0/2", ["0", "1", "A"]),
        ("s3://b/a/c/d/e", ["d", "c", "a"]),
        ("s3://b/0", ["b"]),
        ("https://h/0", []),
        ("/x.ozx/labels/cells", ["labels", "x.ozx"]),
        ("/x.ozx", []),
    ],
)
def test_owners_are_the_nearest_nodes_above(text, owners):
    location = Location.parse(text)
    assert [owner.name for owner in location.owners] == owners
    assert all(str(owner) in str(location) for owner in location.owners)


def test_a_local_place_has_a_path_and_no_url(tmp_path):
    location = Location.parse(tmp_path / "a b.zip") / "in"
    assert location.local_path() == tmp_path / "a b.zip"
    assert not location.is_remote
    with pytest.raises(LocationError, match="web address"):
        location.url()


def test_a_remote_place_has_no_path_and_an_archive_no_keys():
    location = Location.parse("https://host/x.ozx")
    assert location.is_remote
    assert location.url() == "https://host/x.ozx"
    with pytest.raises(LocationError, match="not a local path"):
        location.local_path()
    with pytest.raises(LocationError, match="web address"):
        location.url("zarr.json")


def test_windows_paths_are_shown_as_windows_does():
    share = Location.parse("\\\\server\\share\\a b\\x.zarr")
    assert share.display == "\\\\server\\share\\a b\\x.zarr"
    assert Location.parse(share.display) == share
    drive = Location.parse("c:\\a b\\x.zarr")
    assert str(drive.local_path()).replace("\\", "/") == "C:/a b/x.zarr"


def test_the_keywords_fill_what_the_text_leaves_open():
    sign_in = {"region": "eu-west-1", "profile": "lab", "anonymous": False}
    plain = Location.parse("s3://b/x", endpoint="HTTP://Localhost:8333/", **sign_in)
    assert plain.endpoint == "http://localhost:8333"
    assert (plain.region, plain.profile, plain.anonymous) == ("eu-west-1", "lab", False)
    named = Location.parse("s3+https://host/b/x|profile:mine", endpoint="https://other")
    assert (named.endpoint, named.profile) == ("https://host", "mine")
    assert Location.parse(named, profile="lab") == named
    assert Location.parse("/data/x", profile="lab").profile is None
    assert Location.parse("https://h/x", region="r", anonymous=True).region is None


@pytest.mark.parametrize(
    ("endpoint", "parsed"),
    [
        ("localhost:9000", "http://localhost:9000"),
        ("minio.lab.org", "https://minio.lab.org"),
        ("https://minio.lab.org:443/", "https://minio.lab.org"),
    ],
)
def test_an_endpoint_is_a_scheme_and_a_host(endpoint, parsed):
    assert Location.parse("s3://b/x", endpoint=endpoint).endpoint == parsed


@pytest.mark.parametrize(
    "endpoint", ["ftp://host", "https://host/bucket", "https://me:pw@host", "a b"]
)
def test_an_endpoint_that_holds_more_is_refused(endpoint):
    with pytest.raises(LocationError) as failure:
        Location.parse("s3://b/x", endpoint=endpoint)
    assert failure.value.action


def test_places_are_values():
    first = Location.parse("https://uk1s3.embassy.ebi.ac.uk/idr/x.zarr")
    second = Location.parse("https://livingobjects.ebi.ac.uk/idr/x.zarr/")
    assert first.notes
    assert not second.notes
    assert first == second
    assert hash(first) == hash(second)
    assert not (first / "0").notes
    assert Location.parse(first) == first


def told_about(text):
    """All that a person or a log may get to see of what was pasted."""
    try:
        location = Location.parse(text)
    except LocationError as error:
        return [str(error), repr(error), error.url, str(error.__cause__)]
    return [repr(location), location.display, location.name, *location.notes]


# Parts of real addresses, and characters that parsers stumble over.
TRICKY = [
    *" %#?&=+:;,@|'\"<>()[]\\~*!$`^{}é日\u0301\u200b",
    "..",
    ".",
    "%20",
    "//",
    "|zip:",
]
WORDS = ["x.zarr", "a", "0", "c", "A", "x.zip", "labels", "OME", "0.0.0", "s3:", "C:"]
part = st.lists(st.sampled_from(TRICKY + WORDS), min_size=1, max_size=4).map("".join)
paths = st.lists(part, max_size=6).map("/".join)
roots = st.sampled_from(
    [
        "https://host/",
        "http://me:p%40ss@[::1]:80/",
        "https://uk1s3.embassy.ebi.ac.uk/bia-integrator-data/",
        "s3://bucket/",
        "s3+http://localhost:8333/bucket/",
        "s3+http://localhost:8333/",
        "gs://bucket/",
        "az://container/",
        "az+http://127.0.0.1:10000/account/container/",
        "memory://",
        "file:///",
        "C:\\",
        "\\\\server\\share\\",
        "/",
        "",
        "zarr://s3://bucket/",
        "https://viewer/?source=",
        "napari ",
        "[text](",
        "'",
    ]
)
addresses = st.builds("".join, st.tuples(roots, paths))


def parsed(text):
    try:
        return Location.parse(text)
    except LocationError:
        return None


@quick
@given(st.one_of(st.text(), addresses, st.text(alphabet=st.characters(codec=None))))
@example("https://[/")
@example("https://h/#!" + '{"a":' * 100_000)
@example("s3://b/" + "?" * 50_000)
@example("https://h/#!{" + '"layers":5}')
@example("https://h/#!{'a':_{}")
@example("a" * 50_000)
@example("https://h/?" + "source=" * 10_000)
@example("zip::" * 5_000)
@example("https://h/x" + "|zarr:" * 5_000)
def test_parsing_is_total(text):
    try:
        location = Location.parse(text)
        places = parse_many(text)
    except LocationError:
        return
    assert location in places
    assert not location.path.startswith("/")
    assert not location.path.endswith("/")


@quick
@given(st.one_of(st.text(), addresses))
@example("/data/ x .zarr. ")
@example("/data/a/s3%3A/x")
@example("https://h/x.zarr.;,")
@example("'https://h/x.zarr?a=b.'")
@example("s3://b/x|profile:a%20b|region:c|anonymous:false")
@example("file:///data/s3%3A/bucket/x")
@example("file:///C%3A/x")
@example("https://h/x|zip:0./|profile:me%2E|region:%20")
@example("/C:/x")
@example("/C|")
@example("file:C:x")
@example("file:////server/share/x ")
@example("\\\\server\\share\\")
def test_text_and_place_round_trip(text):
    location = parsed(text)
    assume(location is not None)
    assert Location.parse(str(location)) == location


@quick
@given(addresses)
@example("https://host/%20s3://a, ;")
def test_what_is_shown_leads_there_too(text):
    location = parsed(text)
    assume(location is not None)
    assume(location.is_remote)
    assume(not location.is_archive or location.path.lower().endswith((".zip", ".ozx")))
    again = Location.parse(location.display)
    assert fields(again) == fields(location)
    assert again.member == location.member


keys = st.text(
    st.characters(exclude_characters="/\\", exclude_categories=["Cs", "Cc"]), min_size=1
).filter(lambda key: key not in {".", ".."})


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("s3+https://minio.lab:9000/", "https://minio.lab:9000"),
        ("s3+http://localhost:8333", "http://localhost:8333"),
        ("s3://localhost:8333//", "http://localhost:8333"),
    ],
)
def test_an_object_store_without_a_bucket(text, endpoint):
    store = Location.parse(text, profile="Lab")
    assert store.is_service
    assert (store.protocol, store.root, store.path) == ("s3", "", "")
    assert store.display == f"s3+{endpoint}/"
    assert Location.parse(str(store)) == store
    assert store.parent == store
    bucket = store / "bucket"
    assert bucket == Location.parse(f"s3+{endpoint}/bucket", profile="Lab")
    assert not bucket.is_service
    assert store / "bucket/a/x.zarr" == bucket / "a" / "x.zarr"
    assert store / "" == store


@quick
@given(addresses, keys)
def test_up_undoes_down(text, key):
    location = parsed(text)
    # A bucket is a root of its own, and no folder of its service.
    assume(location is not None and not location.is_service)
    assert (location / key).parent == location
    assert (location / key).name == key


@quick
@given(
    root=st.sampled_from(["https://{}@host/", "http://me:{}@host:1/", "s3://{}@b/"]),
    path=paths,
    secret=st.text("abcdefXYZ0123456789+=%-_.~", min_size=12),
)
def test_secrets_are_never_told(root, path, secret):
    text = f"{root.format(secret)}{path.replace('?', '')}?sig={secret}&x=1"
    assert not [told for told in told_about(text) if secret in told]


@pytest.mark.parametrize(
    ("address", "protocol", "root", "path"),
    [
        ("sftp://ada@h:2222/a b/c.zarr", "sftp", "h:2222", "a b/c.zarr"),
        ("ssh://h/~/c.zarr", "sftp", "h", "~/c.zarr"),
        ("sftp://h/what?.zarr", "sftp", "h", "what?.zarr"),
        ("webdav://h.org/a/c.zarr", "webdav+https", "h.org", "a/c.zarr"),
        ("dav://10.0.0.1:8/c.zarr", "webdav+http", "10.0.0.1:8", "c.zarr"),
        ("davs://h:8080/c.zarr", "webdav+https", "h:8080", "c.zarr"),
        ("webdav+http://h/a%20b.zarr", "webdav+http", "h", "a b.zarr"),
        ("hf://datasets/lab/cells/c.zarr", "hf", "datasets/lab/cells", "c.zarr"),
        ("hf://lab/cells@v1.0/c.zarr", "hf", "lab/cells@v1.0", "c.zarr"),
        ("github://lab:cells/c.zarr", "github", "lab:cells", "c.zarr"),
        ("github://lab:cells@main/a/c.zarr", "github", "lab:cells@main", "a/c.zarr"),
        ("ipfs://bafy/c.zarr", "ipfs", "bafy", "c.zarr"),
        ("ipns://name.org/c.zarr", "ipns", "name.org", "c.zarr"),
        ("memory://folder/c.zarr", "memory", "", "folder/c.zarr"),
    ],
)
def test_what_only_fsspec_knows(address, protocol, root, path):
    location = Location.parse(address)
    assert (location.protocol, location.root, location.path) == (protocol, root, path)
    assert Location.parse(str(location)) == location


@pytest.mark.parametrize(
    "address",
    [
        "sftp:///c.zarr",
        "webdav+https://h/c.zarr?version=2",
        "hf://cells",
        "github://lab/cells/c.zarr",
        "ipfs:///c.zarr",
    ],
)
def test_what_only_fsspec_knows_is_refused_with_its_form(address):
    with pytest.raises(LocationError) as raised:
        Location.parse(address)
    assert raised.value.action


@pytest.mark.parametrize(
    ("address", "helps"),
    [
        ("ftp://host/a.zarr", "sftp://"),
        ("ftps://me:pw@host/a.zarr", "sftp://"),
        ("smb://server/share/a.zarr", "Mount the share"),
        ("tar://a.zarr::https://host/b.tar", "as zip"),
        ("foo://host/a.zarr", "s3://"),
    ],
)
def test_what_is_not_opened_says_what_helps(address, helps):
    with pytest.raises(LocationError) as caught:
        Location.parse(address)
    assert helps in caught.value.action
