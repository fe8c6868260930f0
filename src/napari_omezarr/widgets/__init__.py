"""The docks, the dialog and the commands of the napari plugin.

Each module is imported when it is needed: asking for a reader must stay quick.
"""
