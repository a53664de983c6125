"""seminal: the papers that made deep learning, as models one can trust.

``import seminal`` is light and has no effect; torch is imported when a room is.
"""

__version__ = "0.1.0"
