"""Images by references (kerchunk), and fsspec's caches before an address."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
import zarr
from fsspec.config import conf

from napari_omezarr import read_layers, write_image
from napari_omezarr._io_loop import run
from napari_omezarr.connections import (
    Connection,
    ConnectionFile,
    Keys,
    Profile,
    key_store,
)
from napari_omezarr.demo.server import OWNER
from napari_omezarr.errors import (
    AccessDeniedError,
    ListingDeniedError,
    NodeNotFoundError,
    OptionError,
    SignInNeededError,
    StoreError,
)
from napari_omezarr.location import Location
from napari_omezarr.reading import read
from napari_omezarr.store import open_lister, open_store
from quick_retries import QUICK
from servers import faults
from servers.http import FileServer, GuardedServer
from servers.proxy import Proxy

PIXELS = np.random.default_rng(1).integers(1, 999, (40, 60)).astype("u2")
CHUNK = (20, 20)


@pytest.fixture
def image(tmp_path):
    """An image of zarr 2, whose chunks lie one after the other in one file."""
    folder = tmp_path / "image.zarr"
    write_image(
        PIXELS, folder, axes="yx", version="0.4", levels=1, chunks=CHUNK, codec="none"
    )
    packed, references = b"", {}
    for file in sorted(folder.rglob("*")):
        if not file.is_file():
            continue
        key = file.relative_to(folder).as_posix()
        if file.name.startswith("."):
            references[key] = file.read_text()
        else:
            body = file.read_bytes()
            references[key] = ["{{u}}", 100 + len(packed), len(body)]
            packed += body
    (tmp_path / "packed.bin").write_bytes(b"\xff" * 100 + packed + b"\xff" * 50)
    return references


def write_json(file, references, target):
    document = {"version": 1, "templates": {"u": target}, "refs": references}
    file.write_text(json.dumps(document))


def write_parquet(folder, references, target):
    """Write references as kerchunk does, in Parquet: a table for each array."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    metadata = {k: json.loads(v) for k, v in references.items() if isinstance(v, str)}
    folder.mkdir()
    document = {"metadata": metadata, "record_size": 4}
    (folder / ".zmetadata").write_text(json.dumps(document))
    # An order of keys by rows, the last axis fastest.
    chunks = [(f"0/{y}/{x}", f"{y}.{x}") for y in range(2) for x in range(3)]
    rows = [references[key] for key, _ in chunks]
    (folder / "0").mkdir()
    for record in range(2):
        some = rows[record * 4 : record * 4 + 4]
        some += [[None, 0, 0]] * (4 - len(some))
        paths = [target if row[0] else None for row in some]
        table = pyarrow.table(
            {
                "path": pyarrow.array(paths).dictionary_encode(),
                "offset": pyarrow.array([row[1] for row in some], "int64"),
                "size": pyarrow.array([row[2] for row in some], "int64"),
                "raw": pyarrow.array([None] * 4, "binary"),
            }
        )
        parquet.write_table(table, folder / "0" / f"refs.{record}.parq")


def shown(address):
    ((data, _, _),) = read_layers(address)
    return np.asarray(data)


def test_json_refers_to_a_file_on_the_web(image, tmp_path, http_server):
    write_json(tmp_path / "refs.json", image, f"{http_server.url}/packed.bin")
    address = f"reference::{http_server.url}/refs.json"
    np.testing.assert_array_equal(shown(address), PIXELS)
    assert read_layers(address)[0][1]["name"] == "image"
    parts = [r for r in http_server.requests if r.path == "/packed.bin"]
    assert len(parts) == 6
    assert all(request.range for request in parts)
    documents = [r for r in http_server.requests if r.path == "/refs.json"]
    # Opening twice, above: once each.
    assert len(documents) == 2


def test_json_refers_to_a_local_file(image, tmp_path):
    write_json(tmp_path / "refs.json", image, str(tmp_path / "packed.bin"))
    np.testing.assert_array_equal(shown(f"reference::{tmp_path}/refs.json"), PIXELS)


def test_local_references_lead_to_the_web(image, tmp_path, http_server):
    write_json(tmp_path / "refs.json", image, f"{http_server.url}/packed.bin")
    np.testing.assert_array_equal(shown(f"reference::{tmp_path}/refs.json"), PIXELS)


def test_inline_bytes_are_pixels_too(image, tmp_path):
    body = (tmp_path / "packed.bin").read_bytes()
    for key, said in image.items():
        if isinstance(said, list):
            part = body[said[1] : said[1] + said[2]]
            image[key] = "base64:" + base64.b64encode(part).decode()
    write_json(tmp_path / "refs.json", image, "unused")
    np.testing.assert_array_equal(shown(f"reference::{tmp_path}/refs.json"), PIXELS)


@pytest.mark.parametrize("where", ["local", "web"])
def test_parquet_refers_to_files(image, tmp_path, http_server, where):
    # As kerchunk writes keys of zarr 2: with full stops.
    for key in [key for key in image if key.endswith(".zarray")]:
        document = json.loads(image[key])
        document["dimension_separator"] = "."
        image[key] = json.dumps(document)
    base = tmp_path if where == "local" else http_server.url
    write_parquet(tmp_path / "refs.parq", image, f"{base}/packed.bin")
    np.testing.assert_array_equal(shown(f"reference::{base}/refs.parq"), PIXELS)


def test_a_damaged_table_is_never_black(image, tmp_path):
    write_parquet(tmp_path / "refs.parq", image, str(tmp_path / "packed.bin"))
    (tmp_path / "refs.parq" / "0" / "refs.1.parq").write_bytes(b"PAR1 damaged")
    ((data, _, _),) = read_layers(f"reference::{tmp_path}/refs.parq")
    np.testing.assert_array_equal(np.asarray(data[:20, :20]), PIXELS[:20, :20])
    with pytest.raises(StoreError, match="no references that can be read"):
        np.asarray(data[20:, 40:])


# All chunks are as long, and follow each other by rows.
GENERATED = {
    "key": "0/{{y}}/{{x}}",
    "url": "{{ u }}",
    "offset": "{{100 + SIZE * (y * 3 + x)}}",
    "length": "SIZE",
    "dimensions": {"y": {"stop": 2}, "x": [0, 1, 2]},
}


def test_generated_references_are_pixels_too(image, tmp_path):
    size = image["0/0/0"][2]
    rule = {k: str(v).replace("SIZE", str(size)) for k, v in GENERATED.items()}
    rule["dimensions"] = GENERATED["dimensions"]
    documents = {k: v for k, v in image.items() if isinstance(v, str)}
    document = {
        "version": 1,
        "templates": {"u": str(tmp_path / "packed.bin")},
        "gen": [rule],
        "refs": documents,
    }
    (tmp_path / "refs.json").write_text(json.dumps(document))
    np.testing.assert_array_equal(shown(f"reference::{tmp_path}/refs.json"), PIXELS)


def test_a_template_may_be_called(image, tmp_path):
    for said in image.values():
        if isinstance(said, list):
            said[0] = "{{ f(name='packed') }}"
    templates = {"f": f"{tmp_path}/{{{{name}}}}.bin"}
    document = {"version": 1, "templates": templates, "refs": image}
    (tmp_path / "refs.json").write_text(json.dumps(document))
    np.testing.assert_array_equal(shown(f"reference::{tmp_path}/refs.json"), PIXELS)


@pytest.mark.parametrize(
    "text",
    [
        "{{f.__globals__[os].environ[SECRET]}}",
        "{{u.__class__.__mro__}}",
        "{{f(c=u.__class__)}}",
        "{{__import__('os').environ['SECRET']}}",
        "{{unknown}}",
        "{{9 ** 9 ** 9}}",
        "{{9 * " + "9" * 400 + "}}",
        "{{'a' * 9999999999}}",
        "{{" + "(" * 5000 + "}}",
        "{{" + "-" * 100_000 + "1}}",
        "{{g()}}",
        ("{{f(c='" + "a" * 900 + "')}}") * 100,
    ],
)
def test_nothing_in_references_is_run(image, tmp_path, http_server, monkeypatch, text):
    monkeypatch.setenv("SECRET", "hunter2")
    image["0/0/0"][0] = f"{http_server.url}/{text}"
    # Each of which calls the one before twice, as far as that goes.
    templates = {f"g{n}": f"{{{{g{n - 1}()}}}}" * 2 for n in range(1, 60)}
    templates |= {"u": f"{http_server.url}/packed.bin", "f": "{{c}}"}
    templates |= {"g0": "a", "g": "{{g59()}}"}
    document = {"version": 1, "templates": templates, "refs": image}
    (tmp_path / "refs.json").write_text(json.dumps(document))
    ((data, _, _),) = read_layers(f"reference::{tmp_path}/refs.json")
    http_server.clear_log()
    with pytest.raises(StoreError, match="no references that can be read"):
        np.asarray(data[:20, :20])
    assert http_server.requests == []


@pytest.mark.parametrize("stops", [[10**12], [10**8, 10**8], [10**12, 0], [10**30]])
@pytest.mark.parametrize("count", [1, 1000])
def test_generated_references_have_an_end(tmp_path, stops, count):
    dimensions = {f"i{n}": {"stop": stop // count} for n, stop in enumerate(stops)}
    rule = {"key": "a", "url": "b", "dimensions": dimensions}
    document = {"version": 1, "refs": {}, "gen": [rule] * count}
    (tmp_path / "refs.json").write_text(json.dumps(document))
    with pytest.raises(StoreError, match="no references that can be read"):
        read_layers(f"reference::{tmp_path}/refs.json")


@pytest.mark.parametrize("scheme", ["webdav+http", "webdav+https", "sftp"])
def test_references_sign_nobody_in_at_hosts_of_others(
    image, tmp_path, http_server, monkeypatch, scheme
):
    monkeypatch.setitem(conf, "webdav", {"auth": ["ada", "hunter2"]})
    monkeypatch.setitem(conf, "sftp", {"password": "hunter2", "known_hosts": None})
    host = http_server.url.removeprefix("http://")
    write_json(tmp_path / "refs.json", image, f"{scheme}://{host}/packed.bin")
    ((data, _, _),) = read_layers(f"reference::{tmp_path}/refs.json")
    with pytest.raises(StoreError, match="a host that others chose"):
        np.asarray(data[:20, :20])
    assert http_server.requests == []


@pytest.fixture
def lab(s3_server, s3_prefix):
    """Give a function that puts a file to a private bucket of a connection with keys,
    and says where it is.
    """
    profile = Profile("Lab", endpoint=s3_server.endpoint, sign_in="keys")
    ConnectionFile().save(Connection(profile))
    key_store().keep("Lab", Keys(OWNER.key, OWNER.secret))

    def put(file):
        s3_server.put(f"private/{s3_prefix}/{file.name}", file.read_bytes())
        return f"s3://private/{s3_prefix}/{file.name}"

    return put


@pytest.mark.parametrize("who", ["environment", "connection"])
def test_references_get_no_key_for_an_endpoint_that_they_name(
    image, tmp_path, http_server, lab, monkeypatch, who
):
    file, location = tmp_path / "refs.json", f"reference::{tmp_path}/refs.json"
    write_json(file, image, f"s3+{http_server.url}/b/packed.bin")
    http_server.fault("*", faults.s3_error(403, "AccessDenied"), forever=True)
    if who == "connection":
        location = Location.parse(f"reference::{lab(file)}", profile="Lab")
    else:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "T0KEN")
    pixels = read(Location.parse(location)).pyramids[0].levels[0].pixels
    with pytest.raises((AccessDeniedError, SignInNeededError)):
        pixels[:20, :20]
    assert http_server.requests
    asked = b"".join(each.raw for each in http_server.requests)
    assert not any(said in asked for said in (OWNER.key.encode(), b"T0KEN"))


@pytest.mark.parametrize("names_endpoint", [False, True])
def test_the_keys_of_a_connection_go_along_to_its_own_endpoint(
    image, tmp_path, s3_server, lab, names_endpoint
):
    target = lab(tmp_path / "packed.bin")
    if names_endpoint:
        target = target.replace("s3:/", f"s3+{s3_server.endpoint}")
    write_json(tmp_path / "refs.json", image, target)
    location = Location.parse(
        f"reference::{lab(tmp_path / 'refs.json')}", profile="Lab"
    )
    pixels = read(location).pyramids[0].levels[0].pixels
    np.testing.assert_array_equal(pixels[...], PIXELS)


@pytest.mark.parametrize("target", ["here", "elsewhere"])
@pytest.mark.parametrize("references", ["here", "elsewhere"])
def test_a_token_goes_along_to_its_own_host_and_from_there(
    image, tmp_path, http_server, references, target
):
    with GuardedServer(tmp_path, ("authorization", "Bearer T0KEN")) as server:
        profile = Profile("Lab", endpoint=server.url, sign_in="header")
        ConnectionFile().save(Connection(profile))
        key_store().keep("Lab", Keys(server.url, "T0KEN"))
        hosts = {"here": server.url, "elsewhere": http_server.url}
        write_json(tmp_path / "refs.json", image, f"{hosts[target]}/packed.bin")
        address = f"reference::{hosts[references]}/refs.json|profile:Lab"
        if (references, target) == ("elsewhere", "here"):
            with pytest.raises(SignInNeededError):
                shown(address)
        else:
            np.testing.assert_array_equal(shown(address), PIXELS)
        assert not any(b"T0KEN" in each.raw for each in http_server.requests)


def test_a_token_is_not_given_to_a_cache_of_fsspec(tmp_path, http_server):
    profile = Profile("Lab", endpoint=http_server.url, sign_in="header")
    ConnectionFile().save(Connection(profile))
    with pytest.raises(OptionError, match="The token of Lab is not given") as said:
        read_layers(f"simplecache::{http_server.url}/a.zarr|profile:Lab")
    assert "own disk cache" in str(said.value)
    assert http_server.requests == []


def test_a_key_without_a_reference_is_the_fill_value(image, tmp_path):
    del image["0/1/2"]
    write_json(tmp_path / "refs.json", image, str(tmp_path / "packed.bin"))
    expected = PIXELS.copy()
    expected[20:, 40:] = 0
    np.testing.assert_array_equal(shown(f"reference::{tmp_path}/refs.json"), expected)


@pytest.mark.parametrize("fault", ["gone", "short"])
def test_a_reference_to_nothing_is_never_black(image, tmp_path, http_server, fault):
    if fault == "gone":
        image["0/1/2"] = [f"{http_server.url}/gone.bin", 0, 800]
    else:
        image["0/1/2"][1] += 51
    write_json(tmp_path / "refs.json", image, f"{http_server.url}/packed.bin")
    ((data, _, _),) = read_layers(f"reference::{http_server.url}/refs.json")
    np.testing.assert_array_equal(np.asarray(data[:20, :20]), PIXELS[:20, :20])
    with pytest.raises(StoreError):
        np.asarray(data[20:, 40:])


class WholeServer(FileServer):
    """A server that knows no ranges."""

    async def answer(self, request):
        request.headers.pop("range", None)
        found = await super().answer(request)
        found.headers.pop("Accept-Ranges", None)
        return found


def test_a_server_without_ranges_gives_the_right_parts(image, tmp_path):
    with WholeServer(tmp_path) as server:
        write_json(tmp_path / "refs.json", image, f"{server.url}/packed.bin")
        np.testing.assert_array_equal(
            shown(f"reference::{server.url}/refs.json"), PIXELS
        )


def test_who_writes_references_on_the_web_reads_no_files_here(
    image, tmp_path, http_server
):
    write_json(tmp_path / "refs.json", image, str(tmp_path / "packed.bin"))
    ((data, _, _),) = read_layers(f"reference::{http_server.url}/refs.json")
    with pytest.raises(StoreError, match="files of this computer"):
        np.asarray(data)


@pytest.mark.parametrize(
    "text",
    ["not json", "[]", '{"version": 9}', '{"version": 1, "refs": {".zgroup": [1]}}'],
)
def test_what_holds_no_references_is_said(tmp_path, text):
    (tmp_path / "refs.json").write_text(text)
    with pytest.raises((StoreError, NodeNotFoundError)):
        read_layers(f"reference::{tmp_path}/refs.json")


def test_no_references_there_is_said(tmp_path):
    with pytest.raises(NodeNotFoundError):
        read_layers(f"reference::{tmp_path}/refs.json")


def test_references_are_neither_written_nor_listed(tmp_path):
    location = Location.parse(f"reference::{tmp_path}/refs.json")
    with pytest.raises(OptionError):
        write_image(PIXELS, location, axes="yx")
    with pytest.raises(ListingDeniedError):
        open_lister(location)


def test_a_reference_is_the_bytes_of_its_part(image, tmp_path):
    write_json(tmp_path / "refs.json", image, str(tmp_path / "packed.bin"))
    store = open_store(Location.parse(f"reference::{tmp_path}/refs.json"), retry=QUICK)
    array = zarr.open_array(store, path="0", mode="r")
    np.testing.assert_array_equal(array[5:25, 10:30], PIXELS[5:25, 10:30])


# fsspec's caches.


# fsspec leaves the files open into which blockcache maps what it keeps.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("cache", ["simplecache", "filecache", "blockcache"])
def test_a_cache_of_fsspec_keeps_what_was_read(
    cache, tmp_path, http_server, monkeypatch
):
    write_image(PIXELS, tmp_path / "image.ome.zarr", axes="yx", levels=1)
    monkeypatch.setitem(conf, cache, {"cache_storage": str(tmp_path / "kept")})
    address = f"{cache}::{http_server.url}/image.ome.zarr"
    np.testing.assert_array_equal(shown(address), PIXELS)
    assert any((tmp_path / "kept").iterdir())
    before = [r.path for r in http_server.requests if "/c/" in r.path]
    assert before
    np.testing.assert_array_equal(shown(address), PIXELS)
    if cache == "simplecache":
        after = [r.path for r in http_server.requests if "/c/" in r.path]
        assert after == before


def test_a_cached_zip_opens(tmp_path, http_server, monkeypatch):
    write_image(PIXELS, tmp_path / "image.ozx", axes="yx", levels=1)
    monkeypatch.setitem(conf, "simplecache", {"cache_storage": str(tmp_path / "kept")})
    address = f"zip::simplecache::{http_server.url}/image.ozx"
    np.testing.assert_array_equal(shown(address), PIXELS)


def test_a_cache_that_cannot_be_kept_is_no_missing_image(
    tmp_path, http_server, monkeypatch
):
    write_image(PIXELS, tmp_path / "image.ome.zarr", axes="yx", levels=1)
    (tmp_path / "file").touch()
    storage = str(tmp_path / "file" / "kept")
    monkeypatch.setitem(conf, "simplecache", {"cache_storage": storage})
    with pytest.raises(StoreError) as raised:
        read_layers(f"simplecache::{http_server.url}/image.ome.zarr")
    assert not isinstance(raised.value, NodeNotFoundError)


def test_what_a_cache_does_not_find_is_missing(tmp_path, http_server, monkeypatch):
    monkeypatch.setitem(conf, "simplecache", {"cache_storage": str(tmp_path / "kept")})
    with pytest.raises(NodeNotFoundError):
        read_layers(f"simplecache::{http_server.url}/image.ome.zarr")
    store = open_store(
        Location.parse(f"simplecache::{http_server.url}/image.ome.zarr"), retry=QUICK
    )
    assert run(store.read("zarr.json")) is None


@pytest.mark.parametrize("who", ["nobody", "profile", "keys"])
def test_a_cache_before_a_bucket_signs_in_as_the_connection_says(
    who, tmp_path, s3_server, s3_prefix, monkeypatch
):
    bucket = "public" if who == "nobody" else "private"
    write_image(PIXELS, tmp_path / "image.ome.zarr", axes="yx", levels=1)
    s3_server.upload(tmp_path / "image.ome.zarr", f"{bucket}/{s3_prefix}")
    monkeypatch.setitem(conf, "simplecache", {"cache_storage": str(tmp_path / "kept")})
    profile = Profile("lab", endpoint=s3_server.endpoint, sign_in=who)
    if who == "nobody":
        profile = replace(profile, sign_in="automatic")
    elif who == "keys":
        key_store().keep("lab", Keys(OWNER.key, OWNER.secret))
    else:
        profile = replace(profile, aws_profile="lab")
        keys = f"aws_access_key_id={OWNER.key}\naws_secret_access_key={OWNER.secret}"
        file = tmp_path / "credentials"
        file.write_text(f"[lab]\n{keys}\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    ConnectionFile().save(Connection(profile))
    address = f"simplecache::s3://{bucket}/{s3_prefix}"
    location = Location.parse(address, profile="lab")
    pixels = read(location).pyramids[0].levels[0].pixels
    np.testing.assert_array_equal(pixels[...], PIXELS)
    assert any((tmp_path / "kept").iterdir())


def test_a_cache_gives_no_key_to_an_endpoint_that_only_a_text_names(
    tmp_path, s3_server, s3_prefix, monkeypatch
):
    write_image(PIXELS, tmp_path / "image.ome.zarr", axes="yx", levels=1)
    s3_server.upload(tmp_path / "image.ome.zarr", f"public/{s3_prefix}")
    monkeypatch.setitem(conf, "simplecache", {"cache_storage": str(tmp_path / "kept")})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWNER.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWNER.secret)
    with Proxy(s3_server.endpoint) as proxy:
        address = f"simplecache::s3+{proxy.url}/public/{s3_prefix}"
        np.testing.assert_array_equal(shown(address), PIXELS)
        assert proxy.requests
        assert not any("authorization" in r.headers for r in proxy.requests)
