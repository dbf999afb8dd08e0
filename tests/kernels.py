"""Kernels that begin with the large packages loaded: forks of one process that has imported them and nothing else.

A kernel's own imports take longer than most of what is tested in it. A fork has nothing of this project in it and has
computed nothing, so that what runs there still imports and runs from clean.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time

#: What `lens` and `widgets` ask for, and what a kernel is made of.
PACKAGES = (
    "ipykernel.kernelapp",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "pandas",
    "scipy.stats",
    "xarray",
    "zarr",
    "torch",
    "transformers",
    "transformers.models.llama.modeling_llama",
    "transformer_lens",
    "diffusers",
    "anywidget",
)
#: Seconds between two looks at which kernels have ended.
LOOK = 0.1


class Forks:
    """A process that forks kernels; `environment` is what makes Jupyter ask it, nothing where a system cannot fork so.

    `close` ends it, and every kernel with it.
    """

    def __init__(self, folder) -> None:
        import subprocess

        self.process, self.environment = None, {}
        if not sys.platform.startswith("linux"):
            return
        place, name = folder / "kernels" / "python3", f"mnemoscope-kernels-{os.getpid()}-{id(self)}"
        place.mkdir(parents=True)
        spec = {
            # isolated and without site-packages: it only waits
            "argv": [sys.executable, "-I", "-S", __file__, "ask", name, "-f", "{connection_file}"],
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            # a signal would reach the process that waits; a message reaches the kernel
            "interrupt_mode": "message",
        }
        (place / "kernel.json").write_text(json.dumps(spec))
        self.environment = {"JUPYTER_PATH": str(folder)}
        self.process = subprocess.Popen([sys.executable, "-P", __file__, "serve", name], stdin=subprocess.PIPE)

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(60)


def serve(name: str) -> None:
    """Fork a kernel for each that asks, tell it when the kernel has ended, and end a kernel that nobody waits for.

    Ends with what started it: then its standard input is closed.
    """
    import importlib

    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0{name}")
    listener.listen(16)
    for package in PACKAGES:
        with contextlib.suppress(ImportError):
            importlib.import_module(package)
    waiting: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([listener, sys.stdin, *waiting.values()], [], [], LOOK if waiting else None)
        if sys.stdin in ready:
            break
        if listener in ready:
            asked, _ = listener.accept()
            with asked.makefile("r", encoding="utf-8") as lines:
                told = json.loads(lines.readline())
            pid = os.fork()
            if not pid:
                for one in (listener, asked, *waiting.values()):
                    one.close()
                kernel(told)
            waiting[pid] = asked
        for pid, asked in list(waiting.items()):
            if asked in ready:  # it says nothing more: it is no more
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, 0 if asked in ready else os.WNOHANG)
            if ended:
                with contextlib.suppress(OSError):
                    asked.sendall(bytes([os.waitstatus_to_exitcode(status) & 255]))
                waiting.pop(pid).close()
    for pid in waiting:
        os.kill(pid, signal.SIGKILL)


def kernel(told: dict) -> None:
    """Become the kernel that is asked for; ends with the process."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    sys.path[:0] = filter(None, told["environment"].get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["ipykernel_launcher", *told["arguments"], f"--IPKernelApp.parent_handle={os.getppid()}"]
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()
    sys.exit()


def ask(name: str, *arguments: str) -> int:
    """What JupyterLab takes for its kernel: waits until the kernel that is forked has ended."""
    with socket.socket(socket.AF_UNIX) as server:
        for left in reversed(range(100)):
            try:
                server.connect(f"\0{name}")
                break
            except ConnectionRefusedError:
                if not left:
                    raise
                time.sleep(0.1)
        told = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
        server.sendall(json.dumps(told).encode() + b"\n")
        said = server.recv(1)
    return said[0] if said else 1


if __name__ == "__main__":
    sys.exit(serve(sys.argv[2]) if sys.argv[1] == "serve" else ask(*sys.argv[2:]))
