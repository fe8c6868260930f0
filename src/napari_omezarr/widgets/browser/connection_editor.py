"""The editor of a connection: a form, a test, and the ways to take others over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    FileEdit,
    Label,
    LineEdit,
    Password,
)
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QAction
from qtpy.QtWidgets import (
    QDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_omezarr.browsing import check_connection, start
from napari_omezarr.connections import (
    Connection,
    ConnectionFile,
    Keys,
    Profile,
    SignIn,
    Style,
    aws_profiles,
    from_aws,
    from_mc,
    key_store,
)
from napari_omezarr.errors import OptionError
from napari_omezarr.widgets.qt_async import FutureWatcher, Task, failure

from .errors import ErrorAction
from .panes import plain_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from qtpy.QtGui import QCloseEvent

    from napari_omezarr.browsing import Check
    from napari_omezarr.errors import OMEZarrError

# The fields of a connection, as widgets of magicgui, and what stands in them.

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

    def point_to(self, remedy: ErrorAction | None) -> None:
        """Put the cursor where something is to be changed, for a button of an error."""
        field: Any = self.name if not self.name.value else self.endpoint
        if remedy is ErrorAction.CA_FILE:
            self.more.expand(animate=False)
            field = self.ca_file.line_edit
        elif remedy is ErrorAction.SIGN_IN:
            if self.sign_in.value in ("automatic", "anonymous"):
                self.sign_in.value = _word(SIGN_INS, "keys")
            field = self.access_key if self.is_keyed else self.sign_in
        elif remedy in (ErrorAction.EDIT, ErrorAction.ANOTHER):
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


# What the editor of connections does off the GUI thread: files and keychain block.


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a form needs to know: AWS profiles, and a sentence on where keys go."""

    profiles: tuple[str, ...]
    where: str


def surroundings() -> Surroundings:
    """Look for AWS profiles and for a keychain."""
    return Surroundings(aws_profiles(), key_store().sentence)


def keep(connection: Connection, keys: Keys | None, instead_of: str) -> str:
    """Write a connection, and keep its keys.

    Parameters
    ----------
    connection : Connection
        What to keep.
    keys : Keys or None
        New ones; None leaves those that are kept.
    instead_of : str
        The name it had before; ``""`` for a new one.

    Returns
    -------
    str
        What was done.

    Raises
    ------
    LocationError
        Its endpoint is no address of a service, or its start is none of a place.
    OptionError
        Another one has its name, or the file cannot be written.
    """
    book, name = ConnectionFile(), connection.name
    before = book.find(instead_of)
    if name != instead_of and book.find(name):
        sentence = f"There is another connection called {name}."
        raise OptionError(sentence, action="Choose another name.")
    try:
        book.save(connection, instead_of=instead_of)
    except OSError as error:
        raise _unwritable(error) from None
    keyed = connection.profile.sign_in == "keys"
    if not keyed and before is not None and before.profile.sign_in == "keys":
        key_store().forget(name)
    if keyed and keys is not None and not key_store().keep(name, keys):
        return f"{name} saved; its keys live until napari closes."
    return f"{name} saved."


def remove(name: str) -> str:
    """Forget a connection with its bookmarks and keys; returns what was done.

    Raises
    ------
    OptionError
        The file cannot be written.
    """
    try:
        ConnectionFile().remove(name)
    except OSError as error:
        raise _unwritable(error) from None
    return f"{name} removed."


def take_over(source: str, *, secrets: bool = False) -> str:
    """Import connections; those whose names are taken are left out.

    Parameters
    ----------
    source : {"aws", "mc"}
        The AWS configuration, or MinIO's client.
    secrets : bool
        The keys of MinIO's client, too.

    Returns
    -------
    str
        What was done.

    Raises
    ------
    OptionError
        The file cannot be written.
    """
    book = ConnectionFile()
    taken = {connection.name for connection in book.connections()}
    if source == "aws":
        found = from_aws()
    else:
        held = {name: key_store().find(name) for name in taken} if secrets else {}
        found = from_mc(secrets=secrets)
        _put_back(held)
    new = [profile for profile in found if profile.name not in taken]
    try:
        _save(book, new)
    except OSError as error:
        raise _unwritable(error) from None
    left = len(found) - len(new)
    rest = f" {left} had a name that is taken." if left else ""
    noun = "connection" if len(new) == 1 else "connections"
    return f"Took over {len(new)} {noun}.{rest}"


def renamed(profile: Profile, keys: Keys | None, before: str) -> Profile:
    """Give what is to be tested: under its old name, whose keys are kept."""
    if keys is None and before and profile.sign_in == "keys":
        return replace(profile, name=before)
    return profile


def _put_back(held: dict[str, Keys | None]) -> None:
    """Restore the keys of connections that have the name of an alias by chance."""
    for name, keys in held.items():
        if keys is not None and key_store().find(name) != keys:
            key_store().keep(name, keys)


def _save(book: ConnectionFile, profiles: Iterable[Profile]) -> None:
    for profile in profiles:
        book.save(Connection(profile))


def _unwritable(error: OSError) -> OptionError:
    sentence = f"The connections could not be written ({error.strerror})."
    return OptionError(sentence, action="Check the folder of the configuration.")


# The editor of a connection: a form, a test, and the ways to take others over.

_IMPORTS: dict[str, Callable[[], str]] = {
    "AWS profiles": partial(take_over, "aws"),
    "MinIO client (mc) aliases": partial(take_over, "mc"),
    "MinIO client aliases with their keys": partial(take_over, "mc", secrets=True),
}
_MARKS = {True: "✔", False: "✖", None: "?"}


class ConnectionEditor(QDialog):
    """Edits one connection; it is not modal, and waits for nothing.

    Parameters
    ----------
    connection : Connection or None
        What to edit; None makes a new one.
    stored : bool
        Whether it is one of the person's own, which can be removed.
    parent : QWidget, optional
        Its owner.
    """

    saved = Signal(str, str)
    """The name of a connection that was written, or ``""``, and what was done."""

    def __init__(
        self,
        connection: Connection | None = None,
        *,
        stored: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._before = connection or Connection(Profile(""))
        self._stored = stored
        self._jobs: list[Task] = []
        self._tested: FutureWatcher | None = None
        self.form = ConnectionForm()
        self.message = plain_label(self)
        self.test_button = QPushButton("&Test", self)
        self.save_button = QPushButton("&Save", self)
        self.cancel_button = QPushButton("Cancel", self)
        self.remove_button = QPushButton("&Remove", self)
        self.new_button = QPushButton("&New", self)
        self.import_button = QPushButton("&Import ▾", self)
        self.import_menu = QMenu("Import", self)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(300)
        self._arrange()
        self._connect()
        self._fill()
        self._run(surroundings, self._show_surroundings)

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._jobs) or self._tested is not None

    def begin_anew(self) -> None:
        """Edit a new connection instead."""
        self._drop_test()
        self._before, self._stored = Connection(Profile("")), False
        self._fill()
        self.form.name.native.setFocus()

    def test(self) -> None:
        """Try what the connection may do, without saving it."""
        self._drop_test()
        keys = self.form.keys()
        name = self._before.name if self._stored else ""
        profile = renamed(self.form.profile(), keys, name)
        self.message.setText("Testing …")
        future = start(check_connection(profile, keys=keys))
        self._tested = FutureWatcher(future, self._show_checks, self)

    def save(self) -> None:
        """Write the connection and keep its keys, then close."""
        profile = self.form.profile()
        if lack := self.form.lack():
            self.message.setText(f"✖ {lack}")
            return
        connection = Connection(profile, self._before.bookmarks)
        before = self._before.name if self._stored else ""
        work = partial(keep, connection, self.form.keys(), before)
        self._run(work, partial(self._end, profile.name))

    def remove(self) -> None:
        """Forget the connection with its keys; asks once more before."""
        if self.remove_button.text() == _SURE:
            self._run(partial(remove, self._before.name), partial(self._end, ""))
        else:
            self.remove_button.setText(_SURE)

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """End what is under way, and leave no secret in a field."""
        self._end_all()
        super().closeEvent(event)

    def done(self, code: int) -> None:
        """Close, by whichever way."""
        self._end_all()
        super().done(code)

    def _fill(self) -> None:
        profile, stored = self._before.profile, self._stored
        self.setWindowTitle(profile.name or "New connection")
        self.form.fill(profile, keys_are_kept=stored and profile.sign_in == "keys")
        self.message.clear()
        self.remove_button.setText("&Remove")
        self.remove_button.setVisible(stored)

    def _arrange(self) -> None:
        body, area = QWidget(self), QScrollArea(self)
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 6, 0)
        for widget in (
            self.form.native,
            self.form.where.native,
            self.form.more,
        ):
            column.addWidget(widget)
        column.addStretch()
        area.setWidget(body)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout, above, below = QVBoxLayout(self), QHBoxLayout(), QHBoxLayout()
        layout.addWidget(area, stretch=1)
        layout.addWidget(self.message)
        for button in (
            self.test_button,
            self.new_button,
            self.import_button,
            self.remove_button,
        ):
            above.addWidget(button)
        for button in (self.save_button, self.cancel_button):
            below.addWidget(button)
        layout.addLayout(above)
        layout.addLayout(below)
        # Enter in a field saves; no other button takes it.
        for button in self.findChildren(QPushButton):
            button.setAutoDefault(button is self.save_button)
        self.save_button.setDefault(True)
        self.resize(380, 480)

    def _connect(self) -> None:
        self.test_button.clicked.connect(self.test)
        self.new_button.clicked.connect(self.begin_anew)
        self.save_button.clicked.connect(self.save)
        self.cancel_button.clicked.connect(self.reject)
        self.remove_button.clicked.connect(self.remove)
        self.import_button.setMenu(self.import_menu)
        self.import_button.setStyleSheet(
            "QPushButton::menu-indicator { image: none; width: 0; }"
        )
        for name, work in _IMPORTS.items():
            action = QAction(name, self)
            action.triggered.connect(partial(self._import, work))
            self.import_menu.addAction(action)

    def _run(
        self, work: Callable[[], object], then: Callable[[Future[Any]], None]
    ) -> None:
        job = Task(work)
        self._jobs.append(job)
        job.start(partial(self._finish, job, then), self)

    def _finish(
        self, job: Task, then: Callable[[Future[Any]], None], outcome: Future[Any]
    ) -> None:
        self._jobs.remove(job)
        error = failure(outcome)
        if error is not None:
            self._say(error)
            return
        then(outcome)

    def _end(self, name: str, outcome: Future[str]) -> None:
        self.saved.emit(name, outcome.result())
        self.accept()

    def _import(self, work: Callable[[], str], *_: object) -> None:
        self._run(work, self._imported)

    def _imported(self, outcome: Future[str]) -> None:
        self.message.setText(outcome.result())
        self.saved.emit("", outcome.result())

    def _show_surroundings(self, outcome: Future[Surroundings]) -> None:
        found = outcome.result()
        self.form.offer_profiles(found.profiles)
        self.form.where.value = found.where

    def _show_checks(self, outcome: Future[tuple[Check, ...]]) -> None:
        self._tested = None
        error = failure(outcome)
        if error is not None:
            self._say(error)
            return
        lines = (
            f"{_MARKS[check.works]} {check.sentence} {check.action}".rstrip()
            for check in reversed(outcome.result())
        )
        self.message.setText("\n".join(lines))

    def _say(self, error: OMEZarrError) -> None:
        self.message.setText(f"✖ {error}")

    def _drop_test(self) -> None:
        if self._tested is not None:
            self._tested.abandon()
            self._tested = None

    def _end_all(self) -> None:
        self._drop_test()
        self.form.clear_keys()


_SURE = "&Really remove?"
