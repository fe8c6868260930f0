"""The dock "Save as OME-Zarr": layers, target, plan, options, and the saving itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QWidget

from napari_omezarr.errors import OMEZarrError, WriteCancelledError
from napari_omezarr.user_files import Recents, without_secrets

from .background import explained
from .edits import bare_layers
from .job import Job
from .latest import Latest
from .open_layers import Held, places_of
from .save_actions import ADDED, CONDUCT, SAID, TIDIED
from .save_choices import remember, remembered
from .save_state import TargetState, target_state
from .save_text import plan_text, roles, warnings_text
from .save_view import SaveView
from .save_wish import Wish, layer_data
from .save_work import look, open_saved, save_into, save_new
from .saving import Saving

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    import napari.viewer
    from napari.layers import Layer
    from qtpy.QtGui import QKeyEvent

    from napari_omezarr.location import Location

    from .opening import Opened
    from .save_survey import Survey


class SaveDock(QWidget):
    """Saves layers as an OME-Zarr, on this computer or at a remote place.

    What would be written, and what is at the target, is found out in a thread and
    shown before anything is written. Saving goes on in the background; Esc, or the
    button, cancels it.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Whose layers are offered, and which gets what was saved if that is wanted.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._survey: Survey | None = None
        self._saving: Saving | None = None
        self._saved: Location | None = None
        self._jobs: list[Job] = []
        self.view = SaveView(self)
        self._latest = Latest(self._hear, self)
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
        return self._latest.busy

    def save(
        self,
        conduct: Mapping[str, Any] | None = None,
        work: Callable[..., Location] = save_new,
    ) -> None:
        """Begin to save; the end comes by signal.

        Parameters
        ----------
        conduct : Mapping, optional
            What to do with what is there already: fields of `writing.Conduct`.
        work : callable, optional
            What does it, of `save_work`.
        """
        survey = self._survey
        if self.busy or survey is None or survey.place is None:
            return
        layers = self.view.layers.layers()
        try:
            wish = self._wish(layers)
        except OMEZarrError as error:
            self.view.say(f"✖ {error}")
            return
        how = {**(conduct or {}), "accept_losses": self.view.accept.isChecked()}
        todo = partial(work, wish, survey.place, how)
        saving = Saving(survey.place.display, todo)
        try:
            saving.start()
        except OMEZarrError as error:
            self.view.say(f"✖ {error}")
            return
        self._latest.forget()
        saving.ended.connect(partial(Held.release, Held(layers)))
        saving.progressed.connect(self.view.progress.show_progress)
        saving.ended.connect(self._end)
        self._saving = saving
        self._remember(survey.place)
        self.view.set_busy(True)

    def cancel(self) -> None:
        """Stop after the blocks in work; what is done is kept."""
        if self._saving is not None:
            self._saving.cancel()
            self.view.progress.stopping()

    def open_saved(self) -> None:
        """Open what was saved, as new layers."""
        if self._saved is not None and not self._jobs:
            job = Job(partial(open_saved, self._saved))
            # A window that closes takes the dock with it: nobody will listen.
            self.destroyed.connect(job.abandon)
            self._jobs.append(job.start(self._opened))

    def copy_address(self) -> None:
        """Put the address of what was saved into the clipboard."""
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None and self._saved is not None:
            clipboard.setText(self._saved.display)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Cancel on Esc."""
        if self.busy and event is not None and event.key() == Qt.Key.Key_Escape:
            self.cancel()
            return
        super().keyPressEvent(event)

    def _connect(self) -> None:
        view, events = self.view, self._viewer.layers.events
        for event in (
            events.inserted,
            events.removed,
            events.reordered,
            events.renamed,
        ):
            event.connect(self._refill)
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
        name = f"{layers[0].name if layers else 'image'}.ome.zarr".replace("/", "-")
        self.view.target.suggest(name)
        folder = remembered().get("folder")
        if isinstance(folder, str) and folder and layers:
            self.view.target.line.set_address(f"{folder}/{name}")

    def _changed(self) -> None:
        """Find out anew what would be written."""
        if self.busy:
            return
        self._survey = None
        self.view.clear()
        self._latest.ask(self._question)

    def _question(self) -> Callable[[], Survey] | None:
        layers = self.view.layers.layers()
        if not layers:
            self.view.plan.setText("Check an image or labels to save.")
            return None
        try:
            return partial(look, self._wish(layers))
        except OMEZarrError as error:
            self.view.plan.setText(f"✖ {error}")
            return None

    def _wish(self, layers: list[Layer]) -> Wish:
        return Wish(
            tuple(layer_data(layer) for layer in layers),
            self.view.target.line.address_text(),
            self.view.form.options(),
            places_of(bare_layers(self._viewer.layers)),
        )

    def _hear(self, outcome: Future[Survey]) -> None:
        """Show what was found out."""
        error = outcome.exception()
        if error is not None:
            self.view.plan.setText(f"✖ {explained(error)}")
            return
        self._survey = survey = outcome.result()
        if survey.plan is None:
            self.view.plan.setText(f"✖ {survey.problem}")
            return
        self.view.plan.setText(plan_text(survey.plan))
        self.view.layers.set_roles(roles(survey.plan))
        self.view.warn(warnings_text(survey.plan), "\n".join(survey.plan.losses))
        self._show_state()

    def _show_state(self) -> None:
        if self._survey is not None and self._survey.plan is not None:
            self._offer(target_state(self._survey))

    def _offer(self, state: TargetState) -> None:
        plan = self._survey.plan if self._survey is not None else None
        agreed = self.view.accept.isChecked() or plan is None or not plan.losses
        actions = [a for a in state.actions if agreed or a not in (*CONDUCT, *ADDED)]
        self.view.target.show_state(state.text, actions)
        self.view.save.setEnabled(state.free and agreed)

    def _do(self, action: str) -> None:
        """Do what the person chose about what is at the target."""
        survey = self._survey
        if survey is None or survey.place is None:
            return
        if action in SAID:
            self._offer(SAID[action](survey))
        elif action in TIDIED:
            wish = self._wish(self.view.layers.layers())
            todo = partial(TIDIED[action], survey.place, wish)
            self._latest.ask(lambda: todo)
        elif action in ADDED:
            self.save(ADDED[action], work=save_into)
        else:
            self.save(CONDUCT[action])

    def _end(self, outcome: Future[Location]) -> None:
        """Say how it ended; where it failed, look at what is there now."""
        self._saving = None
        self.view.set_busy(False)
        error = outcome.exception()
        if error is None:
            self._saved = outcome.result()
            Recents().add(self._saved)
            self.view.done(f"Saved to {self._saved.display}.")
            return
        self._changed()
        cancelled = isinstance(error, WriteCancelledError)
        self.view.say("Cancelled." if cancelled else f"✖ {explained(error)}")

    def _opened(self, outcome: Future[Opened]) -> None:
        self._jobs.clear()
        error = outcome.exception()
        if error is not None:
            self.view.say(f"✖ {explained(error)}")
            return
        from .opening import make_layers

        for layer in make_layers([outcome.result()]):
            self._viewer.add_layer(layer)

    def _remember(self, place: Location) -> None:
        folder = without_secrets(place.parent)
        remember({**self.view.form.to_remember(), "folder": folder})
