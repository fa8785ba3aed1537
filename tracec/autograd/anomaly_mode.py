"""Looking for what goes wrong on the way back."""

from __future__ import annotations

from types import TracebackType

from tracec.ir.source import warn
from tracec.record.state import STATE


class set_detect_anomaly:
    """Anomaly mode on or off from here on, or within.

    When it is on, a gradient with NaN in it is an error that names the operation and the line that it went forward
    at, and an error of a backward function carries a note that does. Gradients take longer then.

    Args:
        mode: Whether it is on.
        check_nan: Whether gradients are searched for NaN.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = STATE.anomaly, STATE.check_nan
        STATE.anomaly, STATE.check_nan = bool(mode), bool(check_nan)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        STATE.anomaly, STATE.check_nan = self._before


class detect_anomaly:
    """Within, anomaly mode is on; see `set_detect_anomaly`."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            UserWarning,
        )

    def __enter__(self) -> None:
        self._before = STATE.anomaly, STATE.check_nan
        STATE.anomaly, STATE.check_nan = True, self._check_nan

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        STATE.anomaly, STATE.check_nan = self._before


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return STATE.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    """Whether gradients are searched for NaN in anomaly mode."""
    return STATE.check_nan
