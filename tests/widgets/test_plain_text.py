"""What others wrote is plain text wherever Qt shows it, and makes it load nothing."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from qtpy.QtCore import Qt

import napari_omezarr
from napari_omezarr.errors import OMEZarrError
from napari_omezarr.plain_text import _ELEMENTS, plain

PIECES = st.sampled_from(
    [
        *("<", "</", "<!", "< ", "<?xml", "?>", "<!DOC", ">", "/>", " ", "\n", "\t"),
        *("&lt;", "&amp;", "&", "lt;", "\xa0", "é", "\u0300", "0", "low", "src=x"),
        *(name for name in _ELEMENTS.split("|") if name.isalpha()),
        *("IMG", "Table", "h1", "h7", "unknown"),
    ]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from(["", ": ", " » ", "\n", " ", ", "]))
def test_qt_takes_it_for_plain_text_also_within_others(one, other, between):
    made = plain(one) + between + plain(other)
    if between or not other:
        assert not Qt.mightBeRichText(made)
    assert plain(plain(one)) == plain(one)
    if made == one + between + other:
        return
    # Nothing but the first characters of what may be markup is another.
    assert re.sub("\u2039", "<", plain(one)).replace("\uff06", "&") == one


def test_names_that_are_no_markup_stay_as_they_are():
    for name in ("CD4 <low>", "a < 5", "p<0.05", "x & y", "<c>", "5 <µm>"):
        assert plain(name) == name


def test_an_error_is_plain_text():
    error = OMEZarrError("There is no s3://b/<img src=x>.zarr.", action="See <a>.")
    assert not Qt.mightBeRichText(str(error))


def test_nothing_of_ours_goes_round_the_one_function():
    """A new tooltip or notification of ours goes by ``plain``, or is a constant."""
    root = Path(napari_omezarr.__file__).parent
    wrong = []
    for file in sorted((root / "widgets").rglob("*.py")):
        text = file.read_text(encoding="utf8")
        for call in re.finditer(r"setToolTip\(\s*(?:0, )?(\S+)", text):
            if not call[1].startswith(('"', "plain(", "_BUTTONS[")):
                wrong.append(f"{file.name}: {call[0]}")
        wrong += [
            f"{file.name}: {line}"
            for line in text.splitlines()
            if re.search(r"notifications import .*(show_|Notification\b)", line)
            and "napari_omezarr.display" not in line
        ]
    assert not wrong
