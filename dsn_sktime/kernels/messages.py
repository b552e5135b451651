"""Messages to the user, through :mod:`logging`."""

from __future__ import annotations

import logging


class _UnlessConfigured(logging.StreamHandler):
    """Writes to the standard error, unless the root logger has handlers that get the message."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            super().emit(record)


logger = logging.getLogger("dsn_sktime")
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)
if not logger.handlers:
    logger.addHandler(_UnlessConfigured())
