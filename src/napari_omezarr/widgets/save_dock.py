"""The dock "Save as OME-Zarr": layers, target, plan, options, and the saving itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_omezarr.errors import (
    LossError,
    OMEZarrError,
    RefusedChunksError,
    WriteCancelledError,
)
from napari_omezarr.location import without_secrets
from napari_omezarr.user_files import Recents

from .background_save import (
    SaveRequest,
    Saving,
    explained,
    open_saved,
    preview_save,
    remove_labels,
    remove_unfinished,
    save_into,
    save_new,
)
from .docks import Dock
from .fields import Folded, scroll_in, show_text
from .open_dialog import sign_in
from .qt_async import DebouncedTask, Task
from .save_model import (
    SaveAction,
    TargetState,
    automatic_texts,
    confirmation,
    labels_confirmation,
    plan_text,
    remember,
    remembered,
    roles,
    target_state,
    warnings_text,
)
from .save_widgets import SaveForm, SaveLayers, SaveProgress, SaveTarget, sentence_label
from .viewer_layers import bare_layers, layer_data, on_layers_changed, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    import napari.viewer
    from napari.layers import Layer
    from qtpy.QtGui import QKeyEvent

    from napari_omezarr.location import Location

    from .background_save import SavePreview
    from .open import Opened

SAVE_MODES: Mapping[SaveAction, Mapping[str, Any]] = {
    SaveAction.CONFIRM_REPLACE: {"existing": "replace"},
    SaveAction.BESIDE: {"existing": "beside"},
    SaveAction.RESUME: {"unfinished": "resume"},
}
"""The fields of `writing.SaveMode` for each action that saves a new image."""
ADD_MODES: Mapping[SaveAction, Mapping[str, Any]] = {
    SaveAction.ADD_LABELS: {},
    SaveAction.CONFIRM_LABELS: {"existing": "replace"},
    SaveAction.RENAME_LABELS: {"existing": "beside"},
    SaveAction.RESUME_LABELS: {"unfinished": "resume"},
    SaveAction.ADD_TABLES: {},
    SaveAction.REPLACE_TABLES: {"existing": "replace"},
    SaveAction.RENAME_TABLES: {"existing": "beside"},
}
"""The same for each action that adds labels, or tables, to an image."""
NEXT_STATES: Mapping[SaveAction, Callable[[SavePreview], TargetState]] = {
    SaveAction.REPLACE: confirmation,
    SaveAction.REPLACE_LABELS: labels_confirmation,
    SaveAction.KEEP: target_state,
}
"""What is said next, for each action that only asks."""
REMOVALS: Mapping[SaveAction, Callable[[Location, SaveRequest], SavePreview]] = {
    SaveAction.REMOVE: remove_unfinished,
    SaveAction.FINISH: remove_unfinished,
    SaveAction.REMOVE_LABELS: remove_labels,
}
"""What is done about a save that broke off."""


class SaveView:
    """The parts of the dock, in a column at least 300 pixels wide."""

    def __init__(self, owner: QWidget) -> None:
        self._inner = QWidget(owner)
        self.layers = SaveLayers(self._inner)
        self.target = SaveTarget(self._inner)
        self.form = SaveForm(self._inner)
        self.plan = sentence_label(self._inner)
        self.warning = sentence_label(self._inner)
        self.loss = sentence_label(self._inner)
        self.accept = QCheckBox("Save &without that", self._inner)
        self.refused = QCheckBox("Save what is &refused as empty", self._inner)
        self.save = QPushButton("&Save", self._inner)
        self.progress = SaveProgress(self._inner)
        self.message = sentence_label(self._inner)
        self.open = QPushButton("&Open it", self._inner)
        self.copy = QPushButton("Co&py address", self._inner)
        self.options = Folded("Options", self._inner)
        self._arrange(owner)
        self.plan.setVisible(True)
        self.progress.hide()
        self.offer(None)
        self.clear()

    def clear(self) -> None:
        """Take back what was said of an earlier plan."""
        self.layers.set_roles({})
        self.plan.setText("…")
        self.save.setEnabled(False)
        self.target.show_state("", ())
        self.warn("", "")
        self.say("")

    def warn(self, notes: str, losses: str) -> None:
        """Say what is worth knowing, and what would be lost."""
        show_text(self.warning, notes)
        show_text(self.loss, losses and f"⚠ {losses}")
        self.accept.setVisible(bool(losses) or self._stopped)
        if not losses:
            self.accept.setChecked(False)

    def offer(self, error: BaseException | None) -> None:
        """Let the person agree to what a save has stopped at, and to nothing before."""
        is_refused = isinstance(error, RefusedChunksError)
        self._stopped = isinstance(error, LossError) and not is_refused
        self.accept.setVisible(self._stopped or bool(self.loss.text()))
        self.refused.setVisible(is_refused)
        self.refused.setChecked(False)

    def say(self, text: str) -> None:
        """Say something below all, or nothing."""
        show_text(self.message, text)
        self.open.hide()
        self.copy.hide()

    def done(self, text: str) -> None:
        """Say that it is saved, and offer what comes next."""
        self.say(text)
        self.target.show_state("", ())
        self.open.show()
        self.copy.show()
        self.open.setFocus()

    def set_busy(self, busy: bool) -> None:
        """Show the progress instead of what begins a save."""
        for part in (self.layers, self.target, self.options, self.accept, self.refused):
            part.setEnabled(not busy)
        self.save.setVisible(not busy)
        self.progress.setVisible(busy)
        if busy:
            self.say("")
            self.save.setEnabled(False)
            self.target.show_state("", ())
            self.progress.begin()
            self.progress.cancel.setFocus()

    def _arrange(self, owner: QWidget) -> None:
        owner.setMinimumWidth(300)
        self.options.addWidget(self.form.column)
        after = QHBoxLayout()
        for button in (self.open, self.copy):
            after.addWidget(button)
        after.addStretch()
        column = QVBoxLayout(self._inner)
        column.setContentsMargins(4, 4, 4, 4)
        for part in self._parts():
            column.addWidget(part)
        column.addLayout(after)
        column.addStretch()
        scroll_in(owner, self._inner)

    def _parts(self) -> Iterable[QWidget]:
        yield QLabel("Layers", self._inner)
        yield self.layers
        yield QLabel("Target", self._inner)
        yield self.target
        yield self.plan
        yield self.warning
        yield self.loss
        yield self.accept
        yield self.refused
        yield self.options
        yield self.save
        yield self.progress
        yield self.message


class SaveDock(Dock):
    """Saves layers as an OME-Zarr, on this computer or at a remote place.

    What would be written, and what is at the target, is found out in a thread and
    shown before anything is written. Saving goes on in the background; Esc, or the
    button, cancels it.
    """

    tab = "Save (OME-Zarr)"

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._preview: SavePreview | None = None
        self._saving: Saving | None = None
        self._saved_to: Location | None = None
        self._opening: Task | None = None
        self.view = SaveView(self)
        self._planning = DebouncedTask(self._show_preview, self)
        self.view.form.restore(remembered())
        bare = bare_layers(napari_viewer.layers)
        chosen = [layer for layer in bare if layer in napari_viewer.layers.selection]
        self.view.layers.begin_with(bare, chosen)
        self._connect()
        self._suggest()
        self._changed()

    @property
    def busy(self) -> bool:
        """Whether something is being saved."""
        return self._saving is not None

    @property
    def looking(self) -> bool:
        """Whether the plan is still being made, or the target looked at."""
        return self._planning.busy

    def save(
        self,
        mode: Mapping[str, Any] | None = None,
        work: Callable[..., Location] = save_new,
    ) -> None:
        """Begin to save; the end comes by signal.

        `mode` holds fields of `writing.SaveMode`; `work` is `save_new` or `save_into`.
        """
        place = self._preview.place if self._preview is not None else None
        if self.busy or place is None:
            return
        layers = self.view.layers.layers()
        chosen = {
            **(mode or {}),
            "accept_losses": self.view.accept.isChecked(),
            "accept_refused": self.view.refused.isChecked(),
        }
        try:
            todo = partial(work, self._request(layers), place, chosen)
            saving = Saving(place.display, todo, layers)
            saving.start()
        except OMEZarrError as error:
            self.view.say(f"✖ {error}")
            return
        self._planning.forget()
        saving.progressed.connect(self.view.progress.show_progress)
        saving.ended.connect(self._end)
        self._saving = saving
        folder = without_secrets(place.parent)
        remember({**self.view.form.to_remember(), "folder": folder})
        self.view.set_busy(True)

    def cancel(self) -> None:
        """End its requests; what is done is kept."""
        if self._saving is not None:
            self._saving.cancel()
            self.view.progress.stopping()

    def open_saved(self) -> None:
        """Open what was saved, as new layers."""
        if self._saved_to is not None and self._opening is None:
            task = Task(partial(open_saved, self._saved_to))
            self._opening = task.start(self._opened, self)

    def copy_address(self) -> None:
        """Put the address of what was saved into the clipboard."""
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None and self._saved_to is not None:
            clipboard.setText(self._saved_to.display)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Cancel on Esc."""
        if self.busy and event is not None and event.key() == Qt.Key.Key_Escape:
            self.cancel()
            return
        super().keyPressEvent(event)

    def _connect(self) -> None:
        view = self.view
        on_layers_changed(self._viewer, self._refill)
        view.layers.chosen.connect(self._changed)
        view.target.changed.connect(self._changed)
        view.target.asked.connect(self._do)
        view.target.line.returnPressed.connect(view.save.click)
        view.form.changed.connect(self._changed)
        view.accept.toggled.connect(self._show_state)
        view.save.clicked.connect(lambda: self.save())
        view.progress.cancel.clicked.connect(self.cancel)
        view.open.clicked.connect(self.open_saved)
        view.copy.clicked.connect(self.copy_address)

    def _refill(self, event: object = None) -> None:
        self.view.layers.refill(bare_layers(self._viewer.layers))

    def _suggest(self) -> None:
        """Propose a place: the folder of the last save, the name of a layer."""
        layers = self.view.layers.layers()
        layers = [each for each in layers if isinstance(each, Image | Labels)] or layers
        name = f"{layers[0].name if layers else 'image'}.ome.zarr".replace("/", "-")
        self.view.target.suggest(name)
        folder = remembered().get("folder")
        if isinstance(folder, str) and folder and layers:
            self.view.target.line.set_address(f"{folder}/{name}")

    def _changed(self) -> None:
        """Find out anew what would be written."""
        if self.busy:
            return
        self._preview = None
        self.view.clear()
        self._planning.ask(self._question)

    def _question(self) -> Callable[[], SavePreview] | None:
        layers = self.view.layers.layers()
        if not layers:
            self.view.plan.setText("Check an image or labels to save.")
            return None
        try:
            return partial(preview_save, self._request(layers))
        except OMEZarrError as error:
            self.view.plan.setText(f"✖ {error}")
            return None

    def _request(self, layers: list[Layer]) -> SaveRequest:
        return SaveRequest(
            tuple(layer_data(layer, self._viewer) for layer in layers),
            self.view.target.line.address_text(),
            self.view.form.options(),
            places_of(bare_layers(self._viewer.layers)),
        )

    def _show_preview(self, outcome: Future[SavePreview]) -> None:
        error = outcome.exception()
        if error is not None:
            self.view.plan.setText(f"✖ {explained(error)}")
            return
        self._preview = preview = outcome.result()
        plan = preview.plan
        if preview.beside and (preview.is_refused or not preview.problem):
            self.view.plan.setText("Tables beside an image that is there.")
            role = "table beside the image"
            self.view.layers.set_roles(dict.fromkeys(preview.beside, role))
            self._show_state()
            return
        if plan is None:
            self.view.plan.setText(f"✖ {preview.problem}")
            return
        self.view.plan.setText(plan_text(plan))
        self.view.layers.set_roles(roles(plan))
        self.view.form.show_automatic(automatic_texts(plan))
        self.view.warn(warnings_text(plan), "\n".join(plan.losses))
        self._show_state()

    def _show_state(self) -> None:
        preview = self._preview
        if preview is not None and (preview.plan is not None or preview.beside):
            self._offer(target_state(preview))

    def _offer(self, state: TargetState) -> None:
        plan = self._preview.plan if self._preview is not None else None
        accepted = self.view.accept.isChecked() or plan is None or not plan.losses
        hidden = {} if accepted else {**SAVE_MODES, **ADD_MODES}
        actions = [action for action in state.actions if action not in hidden]
        self.view.target.show_state(state.text, actions)
        self.view.save.setEnabled(state.free and accepted)

    def _do(self, action: SaveAction) -> None:
        """Do what the person chose about what is at the target."""
        preview = self._preview
        if preview is None or preview.place is None:
            return
        if action in NEXT_STATES:
            self._offer(NEXT_STATES[action](preview))
        elif action in REMOVALS:
            request = self._request(self.view.layers.layers())
            removal = partial(REMOVALS[action], preview.place, request)
            self._planning.ask(lambda: removal)
        elif action is SaveAction.SIGN_IN:
            sign_in([preview.place], self, self._aim)
        elif action in ADD_MODES:
            self.save(ADD_MODES[action], work=save_into)
        else:
            self.save(SAVE_MODES[action])

    def _aim(self, places: Sequence[Location]) -> None:
        """Go on with a place as somebody who has signed in there."""
        self.view.target.line.set_address(without_secrets(places[0]))
        self._changed()

    def _end(self, outcome: Future[Location]) -> None:
        """Say how it ended; where it failed, look at what is there now."""
        self._saving = None
        self.view.set_busy(False)
        error = outcome.exception()
        self.view.offer(error)
        if error is None:
            self._saved_to = outcome.result()
            Recents().add(self._saved_to, saved=True)
            self.view.done(f"Saved to {self._saved_to.display}.")
            return
        self._changed()
        cancelled = isinstance(error, WriteCancelledError)
        self.view.say("Cancelled." if cancelled else f"✖ {explained(error)}")

    def _opened(self, outcome: Future[Opened]) -> None:
        self._opening = None
        error = outcome.exception()
        if error is not None:
            self.view.say(f"✖ {explained(error)}")
            return
        from .open import add_layers

        add_layers(self._viewer, outcome.result())
