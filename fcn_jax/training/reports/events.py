"""TensorBoard's event files, written in the caller's thread, so that a full disk raises an error there.

tensorboardX's `SummaryWriter` writes in a thread of its own, where nobody can catch an error. This module
uses only its protocol buffers, and writes the same file format (TFRecord).
"""

import logging
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcn_jax.training.output import write_whole, writing

logger = logging.getLogger(__name__)


class Events:
    """A new event file.

    TensorBoard drops the events of earlier files from `purge_step` on.

    Args:
      folder: made if it is missing.

    Raises:
      ImportError: tensorboardX is not installed.
      OutputError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, purge_step: int):
        from tensorboardX.proto import event_pb2, summary_pb2
        from tensorboardX.record_writer import masked_crc32c

        # A protocol buffer makes its classes during the import, where type checkers do not see them.
        events: Any = event_pb2
        summaries: Any = summary_pb2
        self._event, self._summary, self._checksum = events.Event, summaries.Summary, masked_crc32c
        now = time.time_ns()  # nanoseconds, for two starts within one second
        self._path = folder / f"events.out.tfevents.{now // 10**9}.{socket.gethostname()}.{now}"
        with writing(self._path):
            folder.mkdir(exist_ok=True)
            self._file = self._path.open("wb", buffering=0)
        self._append(events.Event(file_version="brain.Event:2"))
        start = events.SessionLog(status=events.SessionLog.START)
        self._append(events.Event(step=purge_step, session_log=start))

    @staticmethod
    def if_installed(folder: Path, purge_step: int) -> "Events | None":
        """Begins a file. Without tensorboardX returns None and logs how to install it."""
        try:
            return Events(folder, purge_step)
        except ImportError:
            logger.debug("no TensorBoard events: pip install 'fcn_jax[tensorboard]' to get them")
            return None

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Appends numbers by name.

        Raises:
          OutputError: the file cannot be written.
        """
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._append(self._event(step=step, summary=self._summary(value=values)))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _append(self, event: Any) -> None:
        event.wall_time = time.time()
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        checksums = (struct.pack("<I", self._checksum(part)) for part in (length, data))
        record = b"".join((length, next(checksums), data, next(checksums)))
        with writing(self._path):
            write_whole(self._file, record)
