"""The parts of sweeps on Ray."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Annotated, Any, TypeVar

from ..arguments import Positive, Whole, door, shown
from ..engine.model import Model
from ..engine.stopping import Stopped
from ..engine.sweep import Sweep
from ..engine.sweep_parts import Backend, Computed, Plan
from ..models import weight_hash
from ..models.state import identity
from .errors import ClusterError
from .jobs import JobTasks
from .pool import Pool, Process
from .sweeps import SweepTasks
from .transfer import packed, packed_job, packed_model
from .weights import SharedWeights
from .worker import Worker

BACKENDS = ("local", "ray")
_Given = TypeVar("_Given")
Workers = Annotated[int, Whole(1, 10**4)]
#: where whatever names no other backend sweeps, see `by_default`
_DEFAULT: ContextVar[Ray | None] = ContextVar("lens.cluster", default=None)


@door(ClusterError)
class Ray:
    """Workers on Ray, for `backend=` of whatever sweeps: on the Ray that this process is connected to, that of
    RAY_ADDRESS, or a local one.

    In a with block the workers stay, and keep the model from one call to the next; otherwise each call has its own.

    Args:
        workers: actors, each a process with the model. On one machine they share its weights, which are written once to
            the cache (`MNEMOSCOPE_CACHE`) and mapped.
        num_gpus: of each worker; by default one where the model is on a GPU, and none where it is not. Less than one
            puts several workers on a GPU; the default of `memory_mb` is then divided among them.
        device_map: how a worker spreads the model over the GPUs that it has, as accelerate's `dispatch_model` takes it,
            or "auto": for a model that is larger than one of them; a plain Hugging Face model in memory here.
        threads: of each. Numbers are equal to the bit to those of `backend="local"` with as many (by
            ``torch.set_num_threads``) on the same kind of processor.

    >>> with lens.cluster.Ray(workers=8) as ray:              # doctest: +SKIP
    ...     trace = lens.patch(model, pairs, store="trace.zarr", backend=ray)
    """

    def __init__(
        self,
        workers: Workers = 2,
        *,
        threads: Workers = 1,
        num_gpus: Positive | None = None,
        device_map: Mapping[str, Any] | str | None = None,
    ):
        if isinstance(device_map, str) and device_map != "auto":
            raise ClusterError(f"device_map={device_map!r}: expected 'auto', or a mapping of modules to devices.")
        self.workers, self.threads, self.num_gpus, self.device_map = workers, threads, num_gpus, device_map
        self.on_device = 1 if num_gpus is None or num_gpus >= 1 else round(1 / num_gpus)
        self.kept: str | None = None
        self.pool: Pool | None = None
        self.shared: SharedWeights | None = None
        self._model: tuple[Any, ...] | None = None
        self._stays = False

    def __enter__(self) -> Ray:
        self._stays = True
        return self

    def __exit__(self, *_: Any) -> None:
        self._stays = False
        self.close()

    def close(self) -> None:
        """Ends the workers, and the Ray that was started for them."""
        pool, self.pool = self.pool, None
        shared, self.shared, self._model = self.shared, None, None
        try:
            if pool is not None:
                pool.__exit__()
        finally:
            if shared is not None:
                shared.close()

    def parts(self, sweep: Sweep, plan: Plan, stop: Callable[[], bool] | None) -> Generator[Computed]:
        """See `lens.engine.sweep_parts.Backend`."""
        if not any(map(plan.todo, plan.batches)):
            return
        with self.pool_with(sweep.model) as pool:
            content = [pool.ray.put(packed(sweep, sweep.model))]
            tasks = SweepTasks(plan, uuid.uuid4().hex, content)
            for task, given, worker in pool.run(tasks, stop):
                if task is None:
                    raise Stopped
                value, path = given
                if path.get("name"):
                    sweep.model.note(path["name"], path.get("why"), edited=task.method == "compute")
                yield from tasks.ended(task, value, worker)

    @contextlib.contextmanager
    def pool_with(self, model: Model) -> Iterator[Pool]:
        """A pool whose workers are given the model; each maps it with its first task."""
        now = (model.hf, weight_hash(model.hf, anew=True), identity(model.given).digest)
        try:
            if self._model is None or self._model[0] is not now[0] or self._model[1:] != now[1:] or now[2] is None:
                content, weights = packed_model(model.given)
                shared, self.shared = self.shared, SharedWeights(weights)
                if shared is not None:
                    shared.close()
                given = (
                    content,
                    str(self.shared.path),
                    len(weights),
                    now[1],
                    self.threads,
                    self.device_map,
                    self.on_device,
                )

                def arguments(ray: Any) -> tuple[Any, ...]:
                    return ray.put(given[0]), *given[1:]

                self._model = now
                if self.pool is not None:
                    self.pool.actor, self.pool.arguments = Worker, arguments
                    self.pool.forget()
            if self.pool is None:
                self._open(Worker, arguments, float(model.device.type == "cuda"))
            yield self._told()
        finally:
            if not self._stays:
                self.close()

    def jobs(
        self, jobs: Sequence[tuple[str, Callable[[], Any]]], stop: Callable[[], bool] | None = None
    ) -> Generator[tuple[int, Any]]:
        """What independent jobs give, each with its number, as they end.

        Args: jobs: what each is, in words ("it trained seed 3"), and a function without arguments; both it and what it
            gives travel whole.

        Raises ClusterError: a job that cannot be sent, or of which workers die. Stopped: ``stop`` said so.
        """
        if not jobs:
            return
        contents = [packed_job(job, what) for what, job in jobs]
        try:
            if self.pool is None:
                self._open(Process, lambda ray: (self.threads,), 0.0)
            for task, given, _ in self._told().run(JobTasks([what for what, _ in jobs], contents), stop):
                if task is None:
                    raise Stopped
                yield task.number, given
        finally:
            if not self._stays:
                self.close()

    def _open(self, actor: type, arguments: Callable[[Any], tuple[Any, ...]], gpus: float) -> None:
        pool = Pool(actor, arguments, self.workers, self.threads, gpus if self.num_gpus is None else self.num_gpus)
        pool.__enter__()
        self.pool = pool

    def _told(self) -> Pool:
        assert self.pool is not None
        self.pool.kept = self.kept
        return self.pool


@door(ClusterError)
def backend_of(backend: Any, workers: Workers = 2, store: Any = None) -> Backend | None:
    """What `backend=` and `workers=` of a method mean: None for this process.

    Args: store: where the results are kept, for messages.

    Raises ClusterError: neither "local" nor "ray" nor a `Ray`.
    """
    if isinstance(backend, str) and backend == "ray":
        backend = Ray(workers)
    elif isinstance(backend, str) and backend == "local":
        backend = _DEFAULT.get()
        if backend is None:
            return None
    if not isinstance(backend, Ray):
        raise ClusterError(
            f"backend={shown(backend)} is not known; expected {' or '.join(map(repr, BACKENDS))}, or a"
            " lens.cluster.Ray."
        )
    backend.kept = None if store is None else f"store={str(store)!r}"
    return backend


@contextlib.contextmanager
def by_default(backend: Any, workers: Workers = 2) -> Iterator[None]:
    """Within, every sweep and job that names no other backend is computed there, by workers that stay until the end.

    Raises ClusterError: neither "local" nor "ray" nor a `Ray`.
    """
    where: Any = backend_of(backend, workers)
    if where is None:
        yield
        return
    with where:
        token = _DEFAULT.set(where)
        try:
            yield
        finally:
            _DEFAULT.reset(token)


def run_jobs(
    jobs: Sequence[tuple[str, Callable[[], _Given]]],
    backend: Any = "local",
    workers: int = 2,
    *,
    stop: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, _Given]]:
    """What independent jobs give, each with its number, as they end: here in their order, on Ray in any.

    Args:
        jobs: what each is, in words ("it trained seed 3"), and a function without arguments.
        backend, workers: as `lens.patch`. A job on Ray has one thread, or as many as its `Ray` says.

    Raises ClusterError: a job that cannot be sent, or of which workers die. Whatever a job raises is raised here.
    """
    where: Any = backend_of(backend, workers)
    if where is None:
        yield from ((number, job()) for number, (_, job) in enumerate(jobs))
    else:
        yield from where.jobs(jobs, stop)
