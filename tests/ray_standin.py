"""A stand-in for the little of Ray that the package uses, whose actors run in this process when they are waited for."""

import types


class RayError(Exception):
    pass


class RayActorError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


OTHERS = {name: type(name, (RayError,), {}) for name in ("OutOfMemoryError", "ObjectLostError", "GetTimeoutError")}
ERRORS = types.SimpleNamespace(RayError=RayError, RayActorError=RayActorError, RayTaskError=RayTaskError, **OTHERS)


class Job:
    def __init__(self, *call):
        self.call = call


class Actor:
    def __init__(self, ray, held):
        self.ray, self.held, self.dead = ray, held, False

    def __getattr__(self, method):
        return types.SimpleNamespace(remote=lambda *args: Job(self, method, args))


class Standin:
    """`die(actor, method, number)`: asked before each call whether the actor dies of it; `resources`: of the node."""

    exceptions = ERRORS

    def __init__(self):
        self.connected, self.fits, self.resources = False, True, {"CPU": 2.0, "memory": 2.0**31}
        self.free, self.alive, self.head = dict(self.resources), True, "standin"
        self.actors, self.killed, self.log, self.calls = [], [], [], 0
        self.die = lambda actor, method, number: False
        self.waits = lambda: None
        self.never = False

        def strategy(group, placement_group_bundle_index):
            return placement_group_bundle_index

        self.util = types.SimpleNamespace(
            placement_group=lambda bundles, strategy: types.SimpleNamespace(wait=lambda s: self.fits),
            remove_placement_group=lambda group: self.log.append(("removed",)),
            scheduling_strategies=types.SimpleNamespace(PlacementGroupSchedulingStrategy=strategy),
        )

    def is_initialized(self):
        return self.connected

    def init(self, **options):
        self.connected = True
        self.log.append(("init", options))

    def shutdown(self):
        self.connected = False
        self.log.append(("shutdown",))

    def put(self, value):
        return value

    def remote(self, **options):
        def made(cls):
            def start(*args):
                self.actors.append(Actor(self, cls(*args)))
                return self.actors[-1]

            return types.SimpleNamespace(remote=start)

        return made

    def wait(self, jobs, num_returns, timeout):
        self.waits()
        return ([], jobs) if self.never or not jobs else (jobs[:1], jobs[1:])

    def get(self, job, timeout=None):
        if not isinstance(job, Job):
            return job  # what was put
        actor, method, args = job.call
        self.calls += 1
        if actor.dead or self.die(actor, method, self.calls):
            actor.dead = True
            raise RayActorError("The actor died.\nPages of logs.")
        try:
            return getattr(actor.held, method)(*args)
        except Exception as error:
            raise RayTaskError(error) from error

    def kill(self, actor):
        self.killed.append(actor)

    def nodes(self):
        return [{"NodeID": "one", "Alive": self.alive, "Resources": self.resources}]

    def cluster_resources(self):
        return self.resources

    def available_resources(self):
        return self.free

    def get_runtime_context(self):
        return types.SimpleNamespace(gcs_address=self.head, get_node_id=lambda: "one")
