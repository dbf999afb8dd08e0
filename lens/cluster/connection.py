"""Ray as this process reaches it: joined where it is there, started where it is not; places for workers or a message
why there are none; whether it still lives.

Every wait here has a limit. Ray itself ends the whole process, without an exception, a minute after its head process
died and a quarter of one after the raylet at its side did, so that both are looked for before Ray notices.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from lens.engine.interrupts import interruptible

from .errors import ClusterError

#: Seconds that a cluster has for placing all workers (other work may end, nodes may be added meanwhile).
PLACE = 60.0
#: Seconds in which the head of a cluster must answer.
ANSWER = 5.0
#: Workers' processors that a local Ray may be asked for, as a multiple of those that there are.
OVER = 4


def engine(refused: type[Exception] = ClusterError) -> Any:
    """The package ray; an error of the kind `refused` where it is absent."""
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise refused(
            "backend='ray' needs the package ray: pip install 'mnemoscope[ray]'; or use backend='local'."
        ) from error


class Cluster:
    """`workers` places of `threads` processors and `gpus` GPUs each, on the Ray that this process is connected to, on
    that of RAY_ADDRESS, or on one of its own that ends with it.
    """

    def __init__(self, workers: int, threads: int, gpus: float, error: type[Exception] = ClusterError):
        self.workers, self.threads, self.gpus, self.error = workers, threads, gpus, error
        self.ray = engine(error)
        self.owned = False  # whether the connection is ours to end
        self.local = False  # whether the Ray is ours too, for these workers alone
        self.group: Any = None

    def open(self) -> None:
        """Connect, or start. Raises the error that it was given."""
        ray, address = self.ray, os.environ.get("RAY_ADDRESS")
        if ray.is_initialized():
            return
        if address:
            if (head := _host_port(address)) is not None and not _answers(head):
                raise self.error(
                    f"backend='ray': nothing answers at RAY_ADDRESS={address!r} within {ANSWER:g} s. "
                    "Start the cluster (ray start --head), mend the address, or unset it."
                )
            options: dict[str, Any] = {}
        else:
            there = os.cpu_count() or 1
            if self.workers * self.threads > OVER * there:
                raise self.error(
                    f"workers={self.workers}, threads={self.threads}: expected at most {OVER * there} "
                    f"threads in all on this machine, which has {_count(there, 'processor')}. Lower "
                    "them, or give the address of a cluster in RAY_ADDRESS."
                )
            # one processor a worker, whatever its threads: Ray starts a Python process for each that it is told of
            options = {"address": "local", "num_cpus": self.workers, "include_dashboard": False}
        self.owned, self.local = True, not address
        try:
            try:
                ray.init(log_to_driver=False, logging_level="error", **options)
            except Exception:  # of that very class is what Ray raises where a busy machine misses its deadline
                if address:
                    raise
                ray.shutdown()
                ray.init(log_to_driver=False, logging_level="error", **options)
        except Exception as error:
            where = f"at RAY_ADDRESS={address!r} " if address else "on this machine "
            raise self.error(
                f"backend='ray': Ray {where}could not be {'reached' if address else 'started'} "
                f"({type(error).__name__}: {first_line(error)}{_cause(error)}). "
                "Try again when less else is running, or use backend='local'."
            ) from error

    def place(self) -> list[dict[str, Any]]:
        """Options for each actor, so that it has its place.

        Raises the error that it was given: there is no room for all of them.
        """
        ask: dict[str, float] = {"CPU": 1 if self.local else self.threads}
        if self.gpus:
            ask["GPU"] = self.gpus
        if self.local and self.ray.cluster_resources().get("GPU", 0) < self.gpus * self.workers:
            raise self._no_room("")  # its own Ray does not grow
        self.group = self.ray.util.placement_group([dict(ask) for _ in range(self.workers)], strategy="PACK")
        if not self._placed():
            raise self._no_room(f" within {PLACE:g} s")
        strategy = self.ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
        return [
            {
                "num_cpus": ask["CPU"],
                "num_gpus": self.gpus,
                "max_restarts": 0,
                "scheduling_strategy": strategy(self.group, placement_group_bundle_index=i),
            }
            for i in range(self.workers)
        ]

    @interruptible
    def _placed(self) -> bool:
        end = time.monotonic() + PLACE
        while (left := end - time.monotonic()) > 0:
            if self.group.wait(min(1.0, left)):
                return True
        return False

    def _no_room(self, limit: str) -> Exception:
        one = [_count(self.threads, "CPU"), *([_count(self.gpus, "GPU")] if self.gpus else [])]
        nodes = [n for n in self.ray.nodes() if n.get("Alive")]
        total, free = self.ray.cluster_resources(), self.ray.available_resources()

        def size(has):
            return (has.get("GPU", 0), has.get("CPU", 0))

        large: Mapping[str, float] = max((n.get("Resources", {}) for n in nodes), key=size, default={})
        there = _count(len(nodes), "node") + (f" (the largest with {resources(large)})" if len(nodes) > 1 else "")
        busy = any(free.get(kind, 0) < total.get(kind, 0) for kind in ("CPU", "GPU"))
        steps = [
            "lower workers or threads",
            *(["wait until other jobs end"] if busy else []),
            "add nodes",
            "or use backend='local'",
        ]
        return self.error(
            f"workers={self.workers}: the Ray cluster cannot place them{limit}. Asked: "
            f"{_count(self.workers, 'worker')} of {' and '.join(one)} each; the cluster has "
            f"{there} with {resources(total)} in all, of which {resources(free)} are free, "
            f"room for {self._room(free)} of them. "
            f"{', '.join(steps).capitalize()}."
        )

    def _room(self, free: Mapping[str, float]) -> int:
        """How many of the workers what is free has room for, if it were one machine."""
        ask = {"CPU": 1 if self.local else self.threads, "GPU": self.gpus}
        return int(min(self.workers, *(free.get(kind, 0) // n for kind, n in ask.items() if n)))

    def lost(self) -> str | None:
        """What of the cluster is gone so that nothing on it can go on; None while it lives."""
        with contextlib.suppress(Exception):  # a Ray client (ray://) does not tell
            context = self.ray.get_runtime_context()
            head, own = _host_port(context.gcs_address), context.get_node_id()
            if head is not None and not _answers(head):
                return f"its head process (at {head[0]}:{head[1]}) no longer answers"
            nodes = {n["NodeID"]: n for n in self.ray.nodes()}
            alive = {name: node["Alive"] for name, node in nodes.items()}
            port = nodes[own].get("NodeManagerPort") if own in nodes else None
            # the cluster itself sees a raylet's death after 15 s, and then ends this process if it holds an object
            silent = port is not None and not _answers((nodes[own]["NodeManagerAddress"], port))
            if silent or not alive.get(own, True):
                return "the raylet of the driver's node died"
            if not any(alive.values()):
                return "the raylets of all nodes died"
        return None

    def close(self, lost: bool = False) -> None:
        """Give the places back, and end what was started here. Can be called again."""
        group, self.group = self.group, None
        if group is not None and not self.local and not lost:
            with contextlib.suppress(Exception):
                self.ray.util.remove_placement_group(group)
        if self.owned:
            self.owned = False
            self.ray.shutdown()


def _host_port(address: str) -> tuple[str, int] | None:
    """Of "host:port"; None for what is no such address ("auto", "ray://...")."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return None
    return host.strip("[]"), int(port)


def _answers(head: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(head, ANSWER):
            return True
    except OSError:
        return False


def _count(n: float, what: str) -> str:
    return f"{n:g} {what}{'' if n == 1 else 's'}"


def resources(has: Mapping[str, float]) -> str:
    """What a machine or a cluster has, in words: cores, GPUs and GiB of memory."""
    memory = f"{has.get('memory', 0) / 2**30:.1f} GiB of memory"
    return f"{_count(has.get('CPU', 0), 'CPU')}, {_count(has.get('GPU', 0), 'GPU')} and {memory}"


def _cause(error: BaseException) -> str:
    """What an error says of the one that it comes from: Ray hides there that a token is missing."""
    return "" if error.__cause__ is None else f"; {first_line(error.__cause__)}"


def first_line(error: BaseException) -> str:
    """The first line of an error of Ray's, whose texts may hold pages of logs."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:200]
