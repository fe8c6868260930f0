"""Our signatures are those of botocore's signer, whatever is signed."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from napari_omezarr.store.signing import signed, signed_message
from napari_omezarr.store.web import Message

HOSTS = [
    "https://s3.eu-west-1.amazonaws.com",
    "https://Bucket.S3.amazonaws.com:443",
    "http://127.0.0.1:8333",
    "http://localhost:80",
    "http://[::1]:9000",
]
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
QUERIES = st.lists(st.tuples(WORDS.filter(bool), WORDS), max_size=4)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Range", "If-Match", "x-amz-request-payer"]),
    st.sampled_from(["a", "bytes=0-1", '"tag"', " two   words "]),
)
SIGNERS = st.builds(
    ReadOnlyCredentials,
    st.just("AKIDEXAMPLE"),
    st.sampled_from(["secret", "an/other+secret"]),
    st.sampled_from([None, "token=="]),
)


def by_botocore(message, credentials, region):
    headers = dict(message.headers)
    request = AWSRequest(message.method, message.url, headers, message.body)
    S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return dict(request.headers.items())


@given(
    st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    st.sampled_from(HOSTS),
    WORDS,
    QUERIES,
    HEADERS,
    SIGNERS,
)
def test_a_signature_is_that_of_botocore(method, host, key, query, headers, signer):
    encoded = "&".join(f"{quote(k, '-_.~')}={quote(v, '-_.~')}" for k, v in query)
    url = f"{host}/bucket/{quote(key)}" + (f"?{encoded}" if query else "")
    body = b"" if method == "GET" else key.encode()
    message = Message(method, url, headers, body)
    digest = hashlib.sha256(body).hexdigest()
    while True:  # both sign by the clock, which may tick in between
        expected = by_botocore(message, signer, "eu-west-1")
        found = signed_message(message, digest, signer, "eu-west-1").headers
        if found["X-Amz-Date"] == expected["X-Amz-Date"]:
            break
    assert found == expected


def test_a_read_is_signed_without_a_body():
    signer = ReadOnlyCredentials("key", "secret", None)
    message = Message("GET", f"{HOSTS[2]}/bucket/a?list-type=2", {"Range": "bytes=0-"})
    while True:
        expected = by_botocore(message, signer, "us-east-1")
        found = signed(message.url, message.headers, signer, "us-east-1")
        if found["X-Amz-Date"] == expected["X-Amz-Date"]:
            break
    assert found == expected


@pytest.mark.parametrize("other", [("b", "eu-west-1"), ("a", "eu-west-2")])
def test_a_key_is_derived_anew_for_another_secret_or_region(other):
    signatures = {
        signed(f"{HOSTS[0]}/b/k", {}, ReadOnlyCredentials("id", secret, None), region)[
            "Authorization"
        ].rpartition("=")[2]
        for secret, region in (("a", "eu-west-1"), other)
    }
    assert len(signatures) == 2
