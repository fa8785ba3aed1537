"""Signal processing: window functions."""

from tracec.signal import windows as windows
