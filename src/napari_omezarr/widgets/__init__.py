"""What needs Qt or napari: opening in a viewer, the dialog, the preference."""
