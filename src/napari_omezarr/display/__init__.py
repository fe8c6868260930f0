"""A display of remote pyramids that never blocks: coarse at once, then sharp.

``attach`` is the door and the only module here that knows napari and Qt.
"""
