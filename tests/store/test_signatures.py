"""Our signature of a request is that of botocore, which needs ten times as long."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from unittest import mock

from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import example, given, settings
from hypothesis import strategies as st

from napari_omezarr.store.addressing import BucketAddress
from napari_omezarr.store.http import Request
from napari_omezarr.store.object_store import query_of, signed

words = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
addresses = st.builds(
    BucketAddress,
    st.sampled_from(["", "cells", "my.bucket", "Old_Bucket"]),
    st.sampled_from(["us-east-1", "cn-north-1", "somewhere"]),
    st.sampled_from(
        [
            None,
            "http://127.0.0.1:9000",
            "http://Host:80",
            "https://host:443",
            "https://a:b@host",
            "http://host:443",
        ]
    ),
    st.booleans(),
)


@settings(max_examples=40)
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    address=addresses,
    key=keys,
    wishes=st.dictionaries(
        st.sampled_from(["continuation-token", "list-type", "prefix", "uploadId"]),
        keys,
    ),
    headers=st.dictionaries(
        st.from_regex(r"[A-Za-z-]{1,9}", fullmatch=True).map("X-Amz-Meta-{}".format),
        st.text(st.characters(min_codepoint=32, max_codepoint=126)),
        max_size=3,
    ),
    credentials=st.builds(ReadOnlyCredentials, words, words, st.none() | words),
    body=st.none() | st.binary(),
)
@example(
    "POST",
    BucketAddress("b"),
    "a//b/./ü +",
    {"uploads": ""},
    {"Range": "bytes=0-9"},
    ReadOnlyCredentials("k", "s", None),
    b"",
)
def test_it_is_that_of_botocore(
    method, address, key, wishes, headers, credentials, body
):
    # Names that differ in nothing but case are one header, of which nobody sends two.
    headers = {name.title(): text for name, text in headers.items()}
    query = query_of(wishes)
    url = address.url(key) + (f"?{query}" if query else "")
    digest = hashlib.sha256(body or b"").hexdigest()
    ours = signed(Request(method, url, headers, body), credentials, address, digest)
    when = datetime.strptime(ours.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    theirs = AWSRequest(method, url, headers=headers, data=body)
    now = when.replace(tzinfo=UTC)
    with mock.patch.object(auth, "get_current_datetime", return_value=now):
        auth.S3SigV4Auth(credentials, "s3", address.region).add_auth(theirs)
    assert ours.headers["Authorization"] == theirs.headers["Authorization"]
    assert {k.lower() for k in ours.headers} == {k.lower() for k in theirs.headers}
