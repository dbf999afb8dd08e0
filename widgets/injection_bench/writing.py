"""What the model goes on to say, with and without the injection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import traitlets

from lens.arguments import door
from widgets.base.sweep import SweepView
from widgets.errors import ViewError
from widgets.injection_bench.work import Setting


class WritingView(SweepView):
    """A view that writes two texts and can be stopped in between. A subclass gives `_now` and `_memory`."""

    new_tokens = traitlets.Int(20).tag(sync=True)
    generation = traitlets.Dict().tag(sync=True)

    model: Any
    _write: Callable[..., str]

    def __init__(self, **traits: Any) -> None:
        self._said: dict[tuple[str, int], str] = {}
        self._text_stopped = threading.Event()
        super().__init__(**traits)

    def _now(self) -> Setting:
        """What the fields ask for."""
        raise NotImplementedError

    def _memory(self, setting: Setting) -> Any:
        """The memory's vectors."""
        raise NotImplementedError

    @door(ViewError)
    def generate(self, wait: bool = False) -> None:
        """Write `new_tokens` tokens with and without the injection that the fields describe; a text under way is
        stopped first.

        `wait` blocks until both are written; interrupting the kernel then stops the writing and keeps what there is.
        """
        self._text_stopped.set()
        stopped = self._text_stopped = threading.Event()
        setting, count = self._now(), self.new_tokens
        self.publish(generation={"status": "running", "prompt": setting.prompt, "what": setting.what(), "count": count})
        self._worker.quick("generate", lambda: self._say(setting, count, stopped))
        if wait:
            try:
                self.wait()
            except KeyboardInterrupt:
                self.stop_generation()
                self.wait()
                raise

    def stop_generation(self) -> None:
        """End the text under way after the token in progress; what is written stays, marked as stopped."""
        with self._guard:
            self._text_stopped.set()
            if self.generation.get("status") == "running":
                self.publish(generation=self.generation | {"status": "stopping"})

    def _say(self, setting: Setting, count: int, stopped: threading.Event) -> None:
        """Write both texts; `cut` names the one that was stopped. Runs in the worker thread."""
        said: dict[str, Any] = {"prompt": setting.prompt, "what": setting.what(), "count": count}

        def show(status: str, **more: Any) -> None:
            with self._guard:
                said.update(more, status="stopping" if status == "running" and stopped.is_set() else status)
                if self._text_stopped is stopped:  # else a newer question has taken this one's place
                    self.publish(generation=dict(said))

        def text(which: str, *memory: Any, **where: Any) -> str:
            asked = False

            def stop() -> bool:
                nonlocal asked
                asked = stopped.is_set()
                return asked

            written = str(self._write(self.model, setting.prompt, *memory, max_new_tokens=count, stop=stop, **where))
            if asked:
                said["cut"] = which
            return written

        try:
            known = self._said.get((setting.prompt, count))
            said["before"] = text("before") if known is None else known
            if "cut" not in said:
                self._said = {(setting.prompt, count): said["before"]}
                show("running")
                if not setting.memory:
                    raise ViewError("memory: is empty; name what is to be injected")
                said["after"] = text("after", self._memory(setting), **setting.where)
            show("stopped" if "cut" in said else "ready")
        except BaseException as error:
            show("error", title=self._title(error), text=str(error) or type(error).__name__)
        self._refresh_static()
