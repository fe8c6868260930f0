"""Under which name something is kept on disk: a digest, so that it tells nothing."""

from __future__ import annotations

import re
from hashlib import blake2b
from urllib.parse import urlsplit

# Who signs a web address, with what and until when: by AWS and its imitators, Google,
# CloudFront, and whatever else calls a secret by its name.
_SIGNING = re.compile(
    r"x-(amz|goog|oss|cos|obs)-.*|awsaccesskeyid|googleaccessid|ossaccesskeyid|"
    r"expires|policy|key|key-pair-id|sig|.*signature|.*token|.*secret|.*password|"
    r".*api[-_]?key|.*auth|.*credential",
    re.IGNORECASE,
)
# Azure's shared access signatures have short names, which mean it only beside "sig".
_SHARED_ACCESS = re.compile(r"s[a-z]{1,4}|sig")


def cache_key(address: str, sign_in: str = "") -> str:
    """Name an object, the same whenever its address is signed anew.

    Parameters
    ----------
    address : str
        The whole web address of the object.
    sign_in : str, optional
        As whom it is read, without any secret: what one sign-in was shown is not
        shown to another.

    Returns
    -------
    str
        32 hexadecimal digits. Neither the address nor anything in it can be had
        from them; passwords and signatures do not even enter.
    """
    parts = urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    kept, signed = _without_signature(parts.query)
    named = (
        parts.scheme,
        user.partition(":")[0],
        host.lower(),
        parts.path,
        kept,
        "signed" if signed else "",
        sign_in,
    )
    return blake2b("\n".join(named).encode(), digest_size=16).hexdigest()


def _without_signature(query: str) -> tuple[str, bool]:
    """Take from a query what signs it; also say whether there was any."""
    pairs = query.split("&") if query else []
    names = [pair.partition("=")[0] for pair in pairs]
    azure = "sig" in names
    kept = [
        pair
        for pair, name in zip(pairs, names, strict=True)
        if not (_SIGNING.fullmatch(name) or (azure and _SHARED_ACCESS.fullmatch(name)))
    ]
    return "&".join(kept), len(kept) < len(pairs)
