"""The editor of a connection: a form, a test, and the import of others."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_omezarr.browsing import check_list, start
from napari_omezarr.connections import (
    TYPED_SIGN_INS,
    Connection,
    ConnectionFile,
    Keys,
    Profile,
    SignIn,
    Style,
    aws_profiles,
    checked,
    from_aws,
    from_mc,
    key_store,
    sign_in_headers,
)
from napari_omezarr.display.notifications import show_info
from napari_omezarr.errors import OptionError, ReadOnlyError
from napari_omezarr.plain_text import counted
from napari_omezarr.widgets.fields import (
    ChoiceField,
    FileField,
    Folded,
    SecretField,
    SwitchField,
    TextField,
    form_rows,
)
from napari_omezarr.widgets.qt_async import FutureWatcher, Task, failure

from .controls import Form, make_action, menu_button, scroll_area
from .errors import ErrorAction, bare_address, fitting_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from qtpy.QtGui import QCloseEvent

    from napari_omezarr.browsing import Check
    from napari_omezarr.location import Location

    Places = Sequence[Location]

_SIGN_INS: dict[str, SignIn] = {
    "automatic": "automatic",
    "anonymous": "anonymous",
    "AWS profile": "profile",
    "environment": "environment",
    "key and secret": "keys",
    "token or header": "header",
}

_STYLES: dict[str, Style] = {
    "automatic": "auto",
    "bucket in the path": "path",
    "bucket in the host": "virtual",
}
_KEPT = "kept; type to replace it"
_REMOVE, _REALLY = "&Remove", "&Really remove?"
_MARKS = {True: "✔", False: "✖", None: "?"}
_FAILED = {
    "reach": "Does not reach it",
    "list here": "Does not list",
    "read": "Does not read",
    "write": "Does not write",
    "list buckets": "Does not list buckets",
}

# The fields of a connection.


class ConnectionForm:
    """What a person types about a connection.

    Keys that are kept are not shown: their fields are empty, and stay so until
    something is typed to replace them. Fields show where the way to sign in needs them.
    """

    def __init__(self) -> None:
        self._kept_for = ("", "")
        self.name = TextField("Name")
        self.endpoint = TextField("Endpoint")
        self.region = TextField("Region")
        self.sign_in = ChoiceField("Sign in", _SIGN_INS.items())
        self.aws_profile = ChoiceField("Profile")
        self.access_key = TextField("Key")
        self.secret = SecretField("Secret")
        self.token = SecretField("Token")
        self.header = SecretField("Token or header")
        self.key_store = QLabel()
        self.start = TextField("Start at")
        self.style = ChoiceField("Addressing", _STYLES.items())
        self.ca_file = FileField("CA file", "Certificates (*.pem *.crt);;All files (*)")
        self.unverified = SwitchField("take any certificate")
        self.requester_pays = SwitchField("agree to pay for reading")
        self.fields = (
            self.name, self.endpoint, self.region, self.start, self.sign_in,
            self.aws_profile, self.access_key, self.secret, self.token,
            self.header,
        )  # fmt: skip
        self.column, self._rows = form_rows(self.fields)
        seldom, _ = form_rows(
            (self.style, self.ca_file, self.unverified, self.requester_pays)
        )
        self.more = Folded("More")
        self.more.addWidget(seldom)
        self._explain()
        self.sign_in.changed.connect(self._show_fields)
        self._show_fields()

    @property
    def is_keyed(self) -> bool:
        """Whether typed keys sign in."""
        return bool(self.sign_in.value == "keys")

    @property
    def has_keys(self) -> bool:
        """Whether new keys were typed, or a new token."""
        if self.sign_in.value == "header":
            return bool(_typed(self.header))
        return bool(self.access_key.value or self.secret.value or self.token.value)

    def offer_profiles(self, names: Sequence[str]) -> None:
        """Offer the AWS profiles of this computer."""
        chosen = self.aws_profile.value
        rest = [chosen] if chosen and chosen not in names else []
        self.aws_profile.offer((name, name) for name in (*names, *rest))

    def fill(self, profile: Profile, *, keys_are_kept: bool) -> None:
        """Show a connection; keys that are kept are not shown."""
        self.clear_keys()
        # A token is kept for the endpoint that it was typed for.
        self._kept_for = (profile.sign_in, profile.endpoint or "")
        if not keys_are_kept:
            self._kept_for = ("", "")
        self.name.value = profile.name
        self.endpoint.value = profile.endpoint or ""
        self.region.value = profile.region or ""
        self.start.value = profile.start
        self.offer_profiles((profile.aws_profile,) if profile.aws_profile else ())
        self.ca_file.line_edit.value = profile.ca_file or ""
        self.unverified.value = profile.unverified
        self.requester_pays.value = profile.requester_pays
        self.style.value = profile.style
        self.sign_in.value = profile.sign_in
        for field in (self.access_key, self.secret, self.header):
            field.setPlaceholderText(_KEPT if keys_are_kept else "")
        trust = profile.ca_file or profile.unverified
        if profile.style != "auto" or trust or profile.requester_pays:
            self.more.expand(animate=False)
        self._show_fields()

    def focus_field(self, action: ErrorAction | None) -> None:
        """Put the cursor where something is to be changed, for a button of an error."""
        field: Any = None
        match action:
            case ErrorAction.CA_FILE:
                self.more.expand(animate=False)
                field = self.ca_file.line_edit
            case ErrorAction.SIGN_IN:
                if self.sign_in.value in ("automatic", "anonymous"):
                    self.sign_in.value = "keys"
                field = self._secret_field() or self.sign_in
            case ErrorAction.EDIT:
                field = self._secret_field() or self.endpoint
            case ErrorAction():
                field = self.endpoint if self.name.value else self.name
        if field is not None:
            field.setFocus()

    def _secret_field(self) -> Any:
        fields = {"keys": self.access_key, "header": self.header}
        return fields.get(str(self.sign_in.value))

    def profile(self) -> Profile:
        """Give the connection as it stands in the form; it holds no key."""
        sign_in: Any = self.sign_in.value
        style: Any = self.style.value
        named = self.aws_profile.value if sign_in == "profile" else None
        return Profile(
            _typed(self.name),
            aws_profile=str(named) if named else None,
            endpoint=_typed(self.endpoint) or None,
            region=_typed(self.region) or None,
            style=style,
            sign_in=sign_in,
            ca_file=_typed(self.ca_file.line_edit) or None,
            unverified=bool(self.unverified.value),
            requester_pays=bool(self.requester_pays.value),
            start=_typed(self.start),
        )

    def keys(self) -> Keys | None:
        """Give the keys that were typed; None if there are none, or none are used."""
        if self.sign_in.value == "header" and self.has_keys:
            return Keys("", _typed(self.header))
        if not (self.is_keyed and self.has_keys):
            return None
        return Keys(_typed(self.access_key), _typed(self.secret), _typed(self.token))

    def missing(self) -> str:
        """Say what is missing, as an imperative sentence; ``""`` if nothing is."""
        if not _typed(self.name):
            return "Type a name."
        if self.sign_in.value == "header":
            return self._missing_of_header()
        kept = self._kept_for[0] == "keys" and not self.has_keys
        both = _typed(self.access_key) and _typed(self.secret)
        if self.is_keyed and not (kept or both):
            return "Type key and secret."
        return ""

    def _missing_of_header(self) -> str:
        endpoint, keys = _typed(self.endpoint), self.keys()
        if not endpoint:
            return "Type the endpoint: the token is sent there, and nowhere else."
        if keys is None and self._kept_for == ("header", endpoint.rstrip("/")):
            return ""
        try:
            sign_in_headers(keys or Keys("", ""))
        except OptionError as error:
            return error.action
        return ""

    def clear_keys(self) -> None:
        """Empty the fields of the keys, and forget how to undo that."""
        for field in (self.access_key, self.secret, self.token, self.header):
            # Unlike `clear`, this empties the history of changes too.
            field.setText("")

    def _show_fields(self, *_: object) -> None:
        """Show the fields that the way to sign in needs."""
        is_profile = self.sign_in.value == "profile"
        self._rows.setRowVisible(self.aws_profile, is_profile)
        for field in (self.access_key, self.secret, self.token):
            self._rows.setRowVisible(field, self.is_keyed)
        is_header = self.sign_in.value == "header"
        self._rows.setRowVisible(self.header, is_header)
        self.key_store.setVisible(self.is_keyed or is_header)

    def _explain(self) -> None:
        hints = {
            self.endpoint: "https://host:port of the service; empty is AWS",
            self.region: "found out if empty",
            self.start: "bucket/prefix",
            self.token: "only for temporary keys",
            self.header: "token, or Name: value",
        }
        for field, hint in hints.items():
            field.setPlaceholderText(hint)
        self.key_store.setWordWrap(True)
        self.unverified.setToolTip(
            "For a service with a certificate of its own, if its CA file cannot be had."
            " Whoever is in between can read along, and change what is read."
        )


def _typed(field: TextField) -> str:
    return field.value.strip()


# What the editor does off the GUI thread: files and the keychain block.


@dataclass(frozen=True, slots=True)
class SignInOptions:
    """AWS profiles, and a sentence on where keys are kept."""

    profiles: tuple[str, ...]
    key_store: str


def find_sign_in_options() -> SignInOptions:
    """Look for AWS profiles and for a keychain."""
    return SignInOptions(aws_profiles(), key_store().sentence)


def save_connection(connection: Connection, keys: Keys | None, instead_of: str) -> str:
    """Write a connection in place of one with another name; returns what was done.

    Without new keys those that are kept stay. Raises OptionError, or LocationError
    for an endpoint or a start that is no address.
    """
    file, name = ConnectionFile(), connection.name
    connection = replace(connection, profile=checked(connection.profile))
    if keys is not None and connection.profile.sign_in == "header":
        keys = replace(keys, access_key=connection.profile.endpoint or "")
    before = file.find(instead_of)
    if name != instead_of and file.find(name):
        sentence = f"There is another connection called {name}."
        raise OptionError(sentence, action="Choose another name.")
    with _writing():
        file.save(connection, instead_of=instead_of)
    sign_in = connection.profile.sign_in
    keyed = sign_in in TYPED_SIGN_INS
    # Keys of one kind are not sent where another is typed.
    if before is not None and before.profile.sign_in != sign_in:
        key_store().forget(name)
    if keyed and keys is not None and not key_store().keep(name, keys):
        hint = key_store().hint
        return f"{name} saved; its keys live until napari closes. {hint}".rstrip()
    return f"{name} saved."


def remove_connection(name: str) -> str:
    """Forget a connection with its bookmarks and keys; returns what was done."""
    with _writing():
        ConnectionFile().remove(name)
    return f"{name} removed."


def import_aws_profiles() -> str:
    """Import the AWS configuration; returns what was done."""
    return _import(from_aws())


def import_mc_aliases(*, secrets: bool = False) -> str:
    """Import the aliases of MinIO's client, also their keys; returns what was done."""
    taken = [connection.name for connection in ConnectionFile().connections()]
    kept = {name: key_store().find(name) for name in taken} if secrets else {}
    aliases = from_mc(secrets=secrets)
    # An alias may have the name of a connection by chance, whose keys must stay.
    for name, keys in kept.items():
        if keys is not None and key_store().find(name) != keys:
            key_store().keep(name, keys)
    return _import(aliases)


def _import(profiles: Sequence[Profile]) -> str:
    """Save connections, leaving out those whose names are taken."""
    file = ConnectionFile()
    taken = {connection.name for connection in file.connections()}
    new = [profile for profile in profiles if profile.name not in taken]
    with _writing():
        for profile in new:
            file.save(Connection(profile))
    left = len(profiles) - len(new)
    rest = f" {left} had a name that is taken." if left else ""
    return f"Took over {counted(len(new), 'connection')}.{rest}"


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        sentence = f"The connections could not be written ({error.strerror})."
        action = "Check the folder of the configuration."
        if isinstance(error, ReadOnlyError):
            sentence, action = error.sentence, error.action
        raise OptionError(sentence, action=action) from None


_IMPORTS: dict[str, Callable[[], str]] = {
    "AWS profiles": import_aws_profiles,
    "MinIO client (mc) aliases": import_mc_aliases,
    "MinIO client aliases with their keys": partial(import_mc_aliases, secrets=True),
}


class ConnectionEditor(Form):
    """Edits one connection, or a new one; waits for nothing.

    One of the person's own, which is `stored`, can be removed.
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
        super().__init__("", parent)
        self._before = connection or Connection(Profile(""))
        self._stored = stored
        self._tasks: list[Task] = []
        self._test: FutureWatcher | None = None
        self.form = ConnectionForm()
        self.import_menu = QMenu("&Import", self)
        for name, function in _IMPORTS.items():
            start_import = partial(self._run, function, self._end_import)
            self.import_menu.addAction(make_action(name, start_import, self))
        self.test_button = self._button("&Test", self.test)
        self.new_button = self._button("&New", self.begin_anew)
        self.import_button = menu_button(self.import_menu, self)
        self.remove_button = self._button(_REMOVE, self.remove)
        self.save_button = self._button("&Save", self.save)
        self.cancel_button = self._button("Cancel", self.reject)
        self._arrange()
        self._fill()
        self._run(find_sign_in_options, self._show_sign_in_options)

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._tasks) or self._test is not None

    def begin_anew(self) -> None:
        """Edit a new connection instead."""
        self._drop_test()
        self._before, self._stored = Connection(Profile("")), False
        self._fill()
        self.form.name.setFocus()

    def test(self) -> None:
        """Try what the connection may do, without saving it."""
        self._drop_test()
        keys, profile = self.form.keys(), self.form.profile()
        if keys is None and self._stored and profile.sign_in in TYPED_SIGN_INS:
            # Keys are kept under the name that the connection has so far.
            profile = replace(profile, name=self._before.name)
        self.show_message("Testing …")
        future = start(check_list(profile, keys=keys))
        self._test = FutureWatcher(future, self._show_checks, self)

    def save(self) -> None:
        """Write the connection and keep its keys, then close."""
        profile = self.form.profile()
        if missing := self.form.missing():
            self.show_message(f"✖ {missing}")
            return
        connection = Connection(profile, self._before.bookmarks)
        before = self._before.name if self._stored else ""
        work = partial(save_connection, connection, self.form.keys(), before)
        self._run(work, partial(self._end, profile.name))

    def remove(self) -> None:
        """Forget the connection with its keys; asks once more before."""
        if self.remove_button.text() == _REALLY:
            work = partial(remove_connection, self._before.name)
            self._run(work, partial(self._end, ""))
        else:
            self.remove_button.setText(_REALLY)

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """End what is under way, and leave no secret in a field."""
        self._clean_up()
        super().closeEvent(event)

    def done(self, code: int) -> None:
        """Close, by whichever way."""
        self._clean_up()
        super().done(code)

    def _button(self, text: str, function: Callable[[], object]) -> QPushButton:
        button = QPushButton(text, self)
        button.clicked.connect(lambda: function())
        return button

    def _fill(self) -> None:
        profile, stored = self._before.profile, self._stored
        self.setWindowTitle(profile.name or "New connection")
        kept = stored and profile.sign_in in TYPED_SIGN_INS
        self.form.fill(profile, keys_are_kept=kept)
        self.show_message("")
        self.remove_button.setText(_REMOVE)
        self.remove_button.setVisible(stored)

    def _arrange(self) -> None:
        body = QWidget(self)
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 6, 0)
        for widget in (self.form.column, self.form.key_store, self.form.more):
            column.addWidget(widget)
        column.addStretch()
        layout, above, below = QVBoxLayout(self), QHBoxLayout(), QHBoxLayout()
        area = scroll_area(body)
        # Its fields have the keyboard, and it follows them.
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
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
        self.set_default(self.save_button)
        self.resize(380, 480)

    def _run(
        self, function: Callable[[], object], then: Callable[[Future[Any]], None]
    ) -> None:
        task = Task(function)
        self._tasks.append(task)
        task.start(partial(self._finish, task, then), self)

    def _finish(
        self, task: Task, then: Callable[[Future[Any]], None], outcome: Future[Any]
    ) -> None:
        self._tasks.remove(task)
        error = failure(outcome)
        if error is not None:
            self.show_error(error)
            return
        then(outcome)

    def _end(self, name: str, outcome: Future[str]) -> None:
        self.saved.emit(name, outcome.result())
        self.accept()

    def _end_import(self, outcome: Future[str]) -> None:
        self.show_message(outcome.result())
        self.saved.emit("", outcome.result())

    def _show_sign_in_options(self, outcome: Future[SignInOptions]) -> None:
        found = outcome.result()
        self.form.offer_profiles(found.profiles)
        self.form.key_store.setText(found.key_store)

    def _show_checks(self, outcome: Future[tuple[Check, ...]]) -> None:
        self._test = None
        error = failure(outcome)
        if error is not None:
            self.show_error(error)
            return
        self.show_message("\n".join(_lines(outcome.result())))

    def _drop_test(self) -> None:
        if self._test is not None:
            self._test.abandon()
            self._test = None

    def _clean_up(self) -> None:
        self._drop_test()
        self.form.clear_keys()


def _lines(checks: Iterable[Check]) -> Iterator[str]:
    """Say what came of each check; the reason that several have is said once."""
    reasons: set[str] = set()
    for check in checks:
        text = f"{check.sentence} {check.action}".rstrip()
        if check.works is False:
            reason = "for the same reason." if text in reasons else text
            reasons.add(text)
            between = "," if reason != text else ":"
            text = f"{_FAILED[check.what]}{between} {reason}"
        yield f"{_MARKS[check.works]} {text}"


# Signing in where it is needed, for other windows, too.


def sign_in(
    refused: Places, parent: QWidget | None, go_on: Callable[[Places], object]
) -> ConnectionEditor:
    """Bring up a connection for places that were refused; then go on there."""
    own = ConnectionFile().connections()
    connection = fitting_connection(refused[0], own)
    editor = ConnectionEditor(connection, stored=connection in own, parent=parent)
    editor.saved.connect(partial(_end, refused, go_on))
    editor.show()
    editor.form.focus_field(ErrorAction.SIGN_IN)
    return editor


def _end(
    refused: Places, go_on: Callable[[Places], object], name: str, done: str
) -> None:
    connection = ConnectionFile().find(name)
    if connection is not None:
        # Also where its keys are, which may not be for long.
        show_info(done)
        go_on([connection.locate(bare_address(place)) for place in refused])
