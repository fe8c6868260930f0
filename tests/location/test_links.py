"""What a clipboard holds: viewers' links, markup, commands, several lines."""

import json
from urllib.parse import quote

import pytest

from napari_omezarr.errors import LocationError
from napari_omezarr.location import Location, parse_many

STORE = "https://host/a b/x.ome.zarr"
ENCODED = "https://host/a%20b/x.ome.zarr"


def neuroglancer(*sources, encode=quote):
    layers = [{"type": "image", "source": source} for source in sources]
    state = json.dumps({"layers": layers, "layout": "xy"}, separators=(",", ":"))
    return f"https://neuroglancer-demo.appspot.com/#!{encode(state)}"


@pytest.mark.parametrize(
    "link",
    [
        f"https://ome.github.io/ome-ngff-validator/?source={ENCODED}",
        f"https://ome.github.io/ome-ngff-validator/?source={STORE}",
        f"https://hms-dbmi.github.io/vizarr/?viewState=1&source={quote(ENCODED)}",
        "https://hms-dbmi.github.io/vizarr/?source=https://host/a+b/x.ome.zarr",
        f"https://kitware.github.io/itk-vtk-viewer/app/?fileToLoad={ENCODED}",
        f"https://kitware.github.io/itk-vtk-viewer/app/?rotate=false&image={ENCODED}",
        f"https://avivator.gehlenborglab.org/?image_url={ENCODED}",
        f"https://volview.kitware.app/?urls=[{ENCODED}]",
        f"https://vole.allencell.org/viewer?url={quote(ENCODED, safe='')}",
        f"https://viewer.org/#/view?src={ENCODED}",
        f"https://viewer.org/#source={ENCODED}",
        f"https://viewer.org/?whatever={ENCODED}",
        f"https://short.org/?url={quote('https://viewer.org/?source=' + ENCODED)}",
        f"http://localhost:8080/?source=zarr://{ENCODED}/zarr.json",
    ],
)
def test_a_viewer_link_yields_the_store_in_it(link):
    location = Location.parse(link)
    assert location == Location.parse(STORE)
    assert location.notes[0].startswith("Taken out of a link to ")


@pytest.mark.parametrize(
    "link",
    [
        "https://host/x.zarr?source=https://other/y.zarr",
        "https://host/x.ozx?url=https://other/y.zarr",
        "https://host/data?redirect=https://other/page",
        "https://host/data?source=me",
        "https://host/data#source=me",
    ],
)
def test_an_address_of_data_is_no_link(link):
    location = Location.parse(link)
    assert location.root == "host"
    assert not location.notes


@pytest.mark.parametrize(
    "link",
    [
        f"https://v.org/?source={quote(STORE + '?sig=a%2Fb&se=1', safe='')}&x=1",
        "https://v.org/?source=https://host/a+b/x.ome.zarr?sig=a%2Fb&se=1",
    ],
)
def test_the_query_of_the_store_stays_with_it(link):
    location = Location.parse(link)
    assert location == Location.parse(f"{STORE}?sig=a%2Fb&se=1")
    assert "sig" not in "".join(location.notes)


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("zarr://s3://bucket/x.zarr/", "s3://bucket/x.zarr"),
        ("zarr2://gs://bucket/x?dimension_separator=/", "gs://bucket/x"),
        ("zarr3://https://host/x/", "https://host/x"),
        ({"url": "zarr://https://host/x.zarr", "transform": {}}, "https://host/x.zarr"),
        (["precomputed://gs://b/m", "zarr://https://h/x"], "https://h/x"),
        ("https://host/x/|zarr3:", "https://host/x"),
        ("s3+https://minio.org/b/x/|zarr2:labels/cells", "x/labels/cells"),
        ("https://host/x.zip|zip:in/|zarr3:", "https://host/x.zip/in"),
        ("https://host/x.ome.zarr", "https://host/x.ome.zarr"),
    ],
)
@pytest.mark.parametrize("encode", [quote, str, lambda text: "+" + quote(text)])
def test_a_neuroglancer_link_yields_its_zarr_layer(source, address, encode):
    other = "precomputed://https://host/mesh.zarr"
    location = Location.parse(neuroglancer(other, source, encode=encode))
    assert location.display.endswith(address)


def test_old_neuroglancer_links_have_their_own_json():
    state = "{'layers':{'a_b':{'source':'zarr://https://host/it\\'s_x.zarr'_'t':1}}}"
    location = Location.parse(f"https://neuroglancer.org/#!{state}")
    assert location.path == "it's_x.zarr"


def test_a_neuroglancer_link_may_show_several_stores():
    link = neuroglancer("zarr://s3://b/x", "n5://s3://b/y", "zarr://s3://b/z")
    assert Location.parse(link) == Location.parse("s3://b/x")
    assert "2 stores" in Location.parse(link).notes[-1]
    assert [str(location) for location in parse_many(link)] == ["s3://b/x", "s3://b/z"]


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        (neuroglancer("precomputed://gs://b/x"), "shows no Zarr"),
        (neuroglancer(), "shows no Zarr"),
        ("https://neuroglancer.org/#!{}", "shows no Zarr"),
        ('https://neuroglancer.org/#!{"layers":7}', "shows no Zarr"),
        ("https://neuroglancer.org/#!{'layers'", "broken"),
        ("https://neuroglancer.org/#!gs://b/state.json", "on a server"),
        ("https://webknossos.org/datasets/lab/l4_sample/view#1,2", "WEBKNOSSOS"),
        ("https://a.org/?url=" * 9 + "https://b.org/", "link to a link"),
    ],
)
def test_a_link_without_a_store_says_so(link, sentence):
    with pytest.raises(LocationError, match=sentence) as failure:
        Location.parse(link)
    assert failure.value.action


@pytest.mark.parametrize(
    ("page", "address"),
    [
        (
            "https://us-west-2.console.aws.amazon.com/s3/buckets/aind-open-data"
            "?region=us-west-2&prefix=a%20b/x.zarr/&showversions=false",
            "s3://aind-open-data/a b/x.zarr",
        ),
        ("https://s3.console.aws.amazon.com/s3/buckets/lab?tab=objects", "s3://lab"),
        (
            "https://console.cloud.google.com/storage/browser/lab/x.zarr;tab=objects",
            "gs://lab/x.zarr",
        ),
        ("https://storage.cloud.google.com/lab/x.zarr", "gs://lab/x.zarr"),
        (
            "https://zenodo.org/api/records/12/files/x.ozx/content",
            "https://zenodo.org/records/12/files/x.ozx",
        ),
        (
            "https://data-humerus.webknossos.org/data/zarr/lab/l4_sample/color/?token=1",
            "https://data-humerus.webknossos.org/data/zarr/lab/l4_sample/color?token=1",
        ),
    ],
)
def test_a_page_about_an_object_is_the_object(page, address):
    assert Location.parse(page) == Location.parse(address)


@pytest.mark.parametrize(
    "text",
    [
        f"  {STORE}  \n",
        f"\ufeff{STORE}\u200b",
        f'"{STORE}"',
        f"'{STORE}',",
        f"`{STORE}`",
        f"“{STORE}”",
        f"<{STORE}>",
        f"\n\n{STORE}/\n",
        f'napari --plugin napari-ome-zarr "{STORE}"',
        f"$ napari '{STORE}'",
        f"napari {ENCODED} --plugin napari-omezarr",
        f"uvx --with napari-omezarr napari {ENCODED}",
        f'viewer.open("{STORE}", plugin="napari-ome-zarr")',
        f"z = zarr.open('{STORE}', mode='r')",
        f"[the cells]({ENCODED})",
        f"[the cells](<{STORE}> 'title')",
        f"[{ENCODED}]({ENCODED})",
        f'<a href="{ENCODED}">{ENCODED}</a>',
        f"`cells <{STORE}>`_",
        f"* {ENCODED}",
        f"Source: {ENCODED}",
        f"The cells (see {ENCODED}) are public.",
        f"The cells are at {ENCODED}.",
        f"{ENCODED},",
    ],
)
def test_the_one_address_in_a_text_is_found(text):
    location = Location.parse(text)
    assert location == Location.parse(STORE)
    assert not location.notes


@pytest.mark.parametrize(
    ("command", "paths"),
    [
        ("napari /data/x.zarr", ["/data/x.zarr"]),
        ("napari --plugin napari-ome-zarr '/a b/x.zarr'", ["/a b/x.zarr"]),
        ('napari.exe -v "C:\\a b\\x.zarr"', ["C:/a b/x.zarr"]),
        ("python -m napari --stack /a.zarr --plugin=p /b.zarr", ["/a.zarr", "/b.zarr"]),
        ("$ ome_zarr info /a.zarr", ["/a.zarr"]),
    ],
)
def test_the_paths_of_a_command_are_found(command, paths):
    assert [str(location) for location in parse_many(command)] == paths


@pytest.mark.parametrize("name", ["napari", "my napari", "napari notes", "x y z.zarr"])
def test_a_path_that_is_like_a_command_stays_a_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Location.parse(name).local_path() == tmp_path / name


def test_the_options_of_an_aws_command_are_taken_over():
    location = Location.parse(
        "aws s3 ls --no-sign-request --endpoint-url https://minio.org --region r1"
        " --profile lab s3://bucket/x.zarr/"
    )
    assert str(location) == (
        "s3+https://minio.org/bucket/x.zarr|region:r1|profile:lab|anonymous:true"
    )
    python = "s3fs.S3FileSystem(endpoint_url='https://minio.org').ls('s3://bucket/x')"
    assert str(Location.parse(python)) == "s3+https://minio.org/bucket/x"


@pytest.mark.parametrize(
    "text",
    [
        "s3://b/x.zarr\ns3://b/y.zarr",
        "s3://b/x.zarr s3://b/y.zarr",
        "/data/x.zarr\r\n/data/y.zarr",
        "either https://host/x or https://host/y",
        "napari /x.zarr /y.zarr",
    ],
)
def test_several_addresses_are_refused_by_parse_and_taken_by_parse_many(text):
    with pytest.raises(LocationError, match="2 addresses"):
        Location.parse(text)
    first, second = parse_many(text)
    assert first.parent == second.parent


def test_an_aws_command_signs_in_unless_it_says_otherwise():
    location = Location.parse("aws s3 ls s3://bucket/x.zarr/")
    assert location == Location.parse("s3://bucket/x.zarr")
    assert location.anonymous is None


def test_the_same_place_twice_is_one():
    text = f"# a text/uri-list\r\n{STORE}\r\n{ENCODED}/zarr.json\r\n"
    assert parse_many(text) == (Location.parse(text),)


def test_no_text_holds_no_address():
    assert parse_many(" \n ") == ()


def test_a_path_object_is_one_address(tmp_path):
    assert parse_many(tmp_path) == (Location.parse(tmp_path),)


@pytest.mark.parametrize(
    "address",
    [
        "s3+https://minio.org/b/x.zarr|region:r1|profile:lab|anonymous:true",
        "https://host/prefix|auto:",
        "https://host/a.zip|zip:x.zarr|profile:lab",
    ],
)
def test_pipes_that_qt_encodes_when_a_link_is_dropped_are_pipes(address):
    encoded = address.replace("|", "%7C").replace("%7Czip", "|zip")
    assert Location.parse(encoded) == Location.parse(address)
    named = Location.parse("s3://b") / "x|auto:"
    assert Location.parse(str(named)) == named
