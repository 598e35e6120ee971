"""TensorBoard: event files in the workdir, read with `tensorboard --logdir runs`."""

import io
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image
from tensorboardX import RecordWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from crossearth_jax.run.loggers.protocol import End, RunFacts

RGB = 3  # TensorBoard's number for the colour space


class TensorBoard:
    """Events, written at once by TensorBoardX's writer of records.

    Its `SummaryWriter` has a thread, which a full disk ends: its queue fills up and
    the run then waits for it forever.
    """

    def __init__(self) -> None:
        self._writer: RecordWriter | None = None
        self._files = 0

    def start(self, run: RunFacts) -> None:
        """Remembers where and from which step; a file begins with the first event."""
        self._folder, self._start = run.workdir / "tensorboard", run.start + 1

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Curves; into a new file after a failure."""
        self._write(
            step, [Summary.Value(tag=k, simple_value=v) for k, v in values.items()]
        )

    def pictures(self, step: int, pictures: Mapping[str, Image.Image]) -> None:
        """PNG images."""
        shown = {name: _encoded(picture) for name, picture in pictures.items()}
        self._write(step, [Summary.Value(tag=k, image=v) for k, v in shown.items()])

    def files(self, paths: Sequence[Path]) -> None:
        """Nothing to do: they lie in the workdir, beside the events."""

    def end(self, how: End) -> None:
        """Closes the file."""
        writer, self._writer = self._writer, None
        with suppress(OSError):
            if writer is not None:
                writer.close()

    def _write(self, step: int, values: list[Summary.Value]) -> None:
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        try:
            if self._writer is None:
                self._writer = self._open()
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except OSError:
            self.end("failed")  # a record that was cut makes the rest unreadable
            self._start = step + 1
            raise

    def _open(self) -> RecordWriter:
        self._folder.mkdir(exist_ok=True)  # a workdir that is gone stays gone
        self._files += 1
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        place = self._folder / f"{name}.{os.getpid()}.{self._files}"
        writer = RecordWriter(str(place))
        # What a killed run wrote after its last checkpoint does not count.
        begin = SessionLog(status=SessionLog.START)
        first = Event(wall_time=time.time(), file_version="brain.Event:2")
        try:
            for event in (first, Event(step=self._start, session_log=begin)):
                writer.write(event.SerializeToString())
            writer.flush()
        except OSError:  # a disk that stays full would collect empty files
            with suppress(OSError):
                writer.close()
            place.unlink(missing_ok=True)
            raise
        return writer


def _encoded(picture: Image.Image) -> Summary.Image:
    file = io.BytesIO()
    picture.convert("RGB").save(file, format="PNG")
    return Summary.Image(
        height=picture.height,
        width=picture.width,
        colorspace=RGB,
        encoded_image_string=file.getvalue(),
    )
