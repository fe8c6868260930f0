"""The fields of a connection, as widgets of magicgui, and what stands in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    FileEdit,
    Label,
    LineEdit,
    Password,
)
from qtpy.QtWidgets import QFormLayout, QWidget
from superqt import QCollapsible

from napari_omezarr.connections import Keys
from napari_omezarr.connections.connections import Profile, SignIn, Style

from .remedy import Remedy

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGN_INS: dict[str, SignIn] = {
    "automatic": "automatic",
    "anonymous": "anonymous",
    "AWS profile": "profile",
    "environment": "environment",
    "key and secret": "keys",
}
"""What the ways to sign in are called."""

_STYLES: dict[str, Style] = {
    "automatic": "auto",
    "bucket in the path": "path",
    "bucket in the host": "virtual",
}
_NARROW = 120
"""Of a field, in pixels; magicgui makes them too wide for a narrow dock."""

_KEPT = "kept; type to replace it"


class _Unsaid:
    """A widget that does not show in its ``repr`` what was typed."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class KeyLine(_Unsaid, LineEdit):
    """The name of a key."""


class SecretLine(_Unsaid, Password):
    """A secret: nobody reads it over the shoulder."""


class ConnectionForm:
    """What a person types about a connection.

    Keys that are kept are not shown: their fields are empty, and stay so until
    something is typed to replace them.

    Attributes
    ----------
    fields : tuple of magicgui widgets
        What is seen at once; each is shown where the way to sign in needs it.
    native : QWidget
        These fields in rows.
    more : superqt.QCollapsible
        What is seldom needed, folded.
    """

    def __init__(self) -> None:
        self._keys_are_kept = False
        self.name = LineEdit(label="Name")
        self.endpoint = LineEdit(label="Endpoint")
        self.region = LineEdit(label="Region")
        self.sign_in = ComboBox(label="Sign in", choices=list(SIGN_INS))
        self.aws_profile = ComboBox(label="Profile", choices=())
        self.access_key = KeyLine(label="Key")
        self.secret = SecretLine(label="Secret")
        self.token = SecretLine(label="Token")
        self.where = Label(value="")
        self.start = LineEdit(label="Start at")
        self.style = ComboBox(label="Addressing", choices=list(_STYLES))
        self.ca_file = FileEdit(label="CA file", filter="*.pem *.crt *")
        self.unverified = CheckBox(text="take any certificate")
        self.requester_pays = CheckBox(text="agree to pay for reading")
        self.fields = (
            self.name, self.endpoint, self.region, self.start, self.sign_in,
            self.aws_profile, self.access_key, self.secret, self.token,
        )  # fmt: skip
        self.native, self._rows = _rows(self.fields)
        seldom, _ = _rows(
            (self.style, self.ca_file, self.unverified, self.requester_pays)
        )
        self.more = QCollapsible("More")
        self.more.addWidget(seldom)
        self._explain()
        self.sign_in.changed.connect(self._choose)
        self._choose()

    @property
    def is_keyed(self) -> bool:
        """Whether typed keys sign in."""
        return SIGN_INS[str(self.sign_in.value)] == "keys"

    @property
    def has_keys(self) -> bool:
        """Whether new keys were typed."""
        return bool(self.access_key.value or self.secret.value or self.token.value)

    def offer_profiles(self, names: Sequence[str]) -> None:
        """Offer the AWS profiles of this computer."""
        chosen = self.aws_profile.value
        rest = [chosen] if chosen and chosen not in names else []
        self.aws_profile.choices = [*names, *rest]
        if chosen:
            self.aws_profile.value = chosen

    def fill(self, profile: Profile, *, keys_are_kept: bool) -> None:
        """Show a connection.

        Parameters
        ----------
        profile : Profile
            What to show.
        keys_are_kept : bool
            Whether it has keys already; they are not shown.
        """
        self.clear_keys()
        self._keys_are_kept = keys_are_kept
        self.name.value = profile.name
        self.endpoint.value = profile.endpoint or ""
        self.region.value = profile.region or ""
        self.start.value = profile.start
        self.offer_profiles((profile.aws_profile,) if profile.aws_profile else ())
        # Its own `value` makes the working folder of an empty text.
        self.ca_file.line_edit.value = profile.ca_file or ""
        self.unverified.value = profile.unverified
        self.requester_pays.value = profile.requester_pays
        self.style.value = _word(_STYLES, profile.style)
        self.sign_in.value = _word(SIGN_INS, profile.sign_in)
        for field in (self.access_key, self.secret):
            field.native.setPlaceholderText(_KEPT if keys_are_kept else "")
        trust = profile.ca_file or profile.unverified
        if profile.style != "auto" or trust or profile.requester_pays:
            self.more.expand(animate=False)
        self._choose()

    def point_to(self, remedy: Remedy | None) -> None:
        """Put the cursor where something is to be changed, for a button of an error."""
        field: Any = self.name if not self.name.value else self.endpoint
        if remedy is Remedy.CA_FILE:
            self.more.expand(animate=False)
            field = self.ca_file.line_edit
        elif remedy is Remedy.SIGN_IN:
            if self.sign_in.value in ("automatic", "anonymous"):
                self.sign_in.value = _word(SIGN_INS, "keys")
            field = self.access_key if self.is_keyed else self.sign_in
        elif remedy in (Remedy.EDIT, Remedy.ANOTHER):
            field = self.access_key if self.is_keyed else self.endpoint
        if remedy is not None:
            field.native.setFocus()

    def profile(self) -> Profile:
        """Give the connection as it stands in the form; it holds no key."""
        sign_in = SIGN_INS[str(self.sign_in.value)]
        named = self.aws_profile.value if sign_in == "profile" else None
        return Profile(
            str(self.name.value).strip(),
            aws_profile=str(named) if named else None,
            endpoint=str(self.endpoint.value).strip() or None,
            region=str(self.region.value).strip() or None,
            style=_STYLES[str(self.style.value)],
            sign_in=sign_in,
            ca_file=str(self.ca_file.line_edit.value).strip() or None,
            unverified=bool(self.unverified.value),
            requester_pays=bool(self.requester_pays.value),
            start=str(self.start.value).strip(),
        )

    def keys(self) -> Keys | None:
        """Give the keys that were typed; None if there are none, or none are used."""
        if not (self.is_keyed and self.has_keys):
            return None
        fields = (self.access_key, self.secret, self.token)
        return Keys(*(str(field.value).strip() for field in fields))

    def lack(self) -> str:
        """Say what is missing, as an imperative sentence; ``""`` if nothing is."""
        if not str(self.name.value).strip():
            return "Type a name."
        kept = self._keys_are_kept and not self.has_keys
        both = str(self.access_key.value).strip() and str(self.secret.value).strip()
        if self.is_keyed and not (kept or both):
            return "Type key and secret."
        return ""

    def clear_keys(self) -> None:
        """Empty the fields of the keys, and forget how to undo that."""
        for field in (self.access_key, self.secret, self.token):
            # Unlike `clear`, this empties the history of changes too.
            field.native.setText("")

    def _choose(self, *_: object) -> None:
        """Show the fields that the way to sign in needs."""
        sign_in = SIGN_INS[str(self.sign_in.value)]
        self._rows.setRowVisible(self.aws_profile.native, sign_in == "profile")
        for field in (self.access_key, self.secret, self.token):
            self._rows.setRowVisible(field.native, sign_in == "keys")
        self.where.native.setVisible(sign_in == "keys")

    def _explain(self) -> None:
        hints = {
            self.endpoint: "https://host:port of the service; empty is AWS",
            self.region: "found out if empty",
            self.start: "bucket/prefix",
            self.token: "only for temporary keys",
        }
        for field, hint in hints.items():
            field.native.setPlaceholderText(hint)
        for field in self.fields:
            field.native.setAccessibleName(field.label)
        self.where.native.setWordWrap(True)
        self.unverified.native.setToolTip(
            "For a service with a certificate of its own, if its CA file cannot be had."
            " Whoever is in between can read along, and change what is read."
        )
        for seldom in (self.style, self.ca_file.line_edit):
            seldom.native.setAccessibleName(seldom.label or self.ca_file.label)


def _rows(fields: Sequence[Any]) -> tuple[QWidget, QFormLayout]:
    """Put fields below each other, their labels aligned."""
    widget = QWidget()
    layout = QFormLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    for field in fields:
        # A check box says itself what it is.
        label = "" if isinstance(field, CheckBox) else field.label
        field.native.setMinimumWidth(_NARROW)
        layout.addRow(label, field.native)
    return widget, layout


def _word(words: dict[str, Any], value: str) -> str:
    return next(word for word, meaning in words.items() if meaning == value)
