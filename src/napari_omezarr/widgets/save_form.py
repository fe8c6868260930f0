"""The options of the save dock, as a form of magicgui."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, Container, LineEdit
from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QLineEdit

from .save_choices import AUTO, options_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_CODECS = (AUTO, "zstd", "blosc-zstd", "blosc-lz4", "gzip", "none")

_CHOICES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "version": ("Version", ("0.5", "0.4", "0.6"), "0.4 for older programs"),
    "layout": (
        "Chunks for",
        (AUTO, "plane", "volume"),
        "Chunks that are flat in z, or near cubes",
    ),
    "codec": ("Codec", _CODECS, "All are lossless"),
    "label_codec": ("Codec of labels", _CODECS, "All are lossless"),
    "image_method": (
        "Coarser images",
        ("mean", "nearest", "max"),
        "How a coarser pixel is made of finer ones",
    ),
    "label_method": (
        "Coarser labels",
        ("nearest", "mode"),
        "Labels are never averaged",
    ),
    "verify": ("Read back", ("sample", "all", "none"), "Compare what was stored"),
}
_TEXTS = {
    "levels": ("Levels", AUTO, "A number; auto is until no side is above 256"),
    "factors": ("Step of levels", AUTO, "Like 1 2 2, or z=1 y=2 x=2"),
    "chunks": ("Chunk", AUTO, "Pixels, like 1 64 256 256, or z=1 y=256"),
    "shards": ("Shard", AUTO, "Pixels, or none"),
    "level": ("Codec's level", AUTO, "A number, higher is smaller and slower"),
    "name": ("Name", "", "Of the image; else it keeps the one it has"),
    "axis_names": ("Rename axes", "", "Like t=z"),
    "units": ("Units", "", "Like z=micrometer y=micrometer x=micrometer"),
}
_SWITCHES = {
    "merge": ("merge channels of one grid", True),
    "consolidated": ("consolidated metadata", True),
}
_ORDER = (
    "version", "levels", "factors", "layout", "chunks", "shards", "codec", "level",
    "label_codec", "image_method", "label_method", "name", "axis_names", "units",
    "merge", "consolidated", "verify",
)  # fmt: skip
_NOT_REMEMBERED = ("name", "axis_names", "units")
"""They are about one image."""


class SaveForm:
    """Widgets of magicgui in a column; their names are those of `WriteOptions`.

    Attributes
    ----------
    container : magicgui.widgets.Container
        The form.
    """

    changed = Signal()
    """Something was set by the person."""

    def __init__(self) -> None:
        fields = {name: _field(name) for name in _ORDER}
        self.container: Container[Any] = Container(widgets=list(fields.values()))
        self._fields = fields
        self.container.margins = (0, 0, 0, 0)
        for combo in self.container.native.findChildren(QComboBox):
            combo.setMinimumContentsLength(6)
            policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            combo.setSizeAdjustPolicy(policy)
        for line in self.container.native.findChildren(QLineEdit):
            line.setMinimumWidth(60)
        for name, field in fields.items():
            field.native.setAccessibleName(field.label or field.text)
            field.native.setObjectName(name)
            field.changed.connect(self._tell)

    def __getitem__(self, name: str) -> Any:
        """Give the widget of a field."""
        return self._fields[name]

    def values(self) -> dict[str, Any]:
        """Give what the fields hold."""
        return {name: field.value for name, field in self._fields.items()}

    def to_remember(self) -> dict[str, Any]:
        """Give what is of use for another image, too."""
        return {k: v for k, v in self.values().items() if k not in _NOT_REMEMBERED}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Set fields, as far as they still know the values."""
        for name, value in values.items():
            field = self._fields.get(name)
            if field is None or type(value) is not type(field.value):
                continue
            if name not in _CHOICES or value in _CHOICES[name][1]:
                field.value = value

    def options(self) -> dict[str, Any]:
        """Give keyword arguments for ``write_layers``.

        Raises
        ------
        OptionError
            A text cannot be understood.
        """
        return options_of(self.values())

    def _tell(self) -> None:
        self.changed.emit()


def _field(name: str) -> Any:
    if name in _SWITCHES:
        text, on = _SWITCHES[name]
        return CheckBox(name=name, text=text, value=on, label="")
    if name in _TEXTS:
        label, value, tip = _TEXTS[name]
        return LineEdit(name=name, label=label, value=value, tooltip=tip)
    label, choices, tip = _CHOICES[name]
    return ComboBox(name=name, label=label, choices=choices, tooltip=tip)
