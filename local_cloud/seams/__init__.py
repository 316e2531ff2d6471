"""What the embedded cloud changes in MiniStack, one file per service.

MiniStack has no plug-in interface for this, so each seam replaces named functions of the pinned version.
``Pinned.replace`` checks that they are still there with the same parameters: an upgrade fails at start, by name.
"""
