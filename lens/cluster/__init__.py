"""Work on more than one process or machine: Ray actors that share a model's weights and take one part of the work after
the other.
"""

from .errors import ClusterError
from .ray import Ray, Workers, backend_of, by_default, run_jobs

__all__ = ["ClusterError", "Ray", "Workers", "backend_of", "by_default", "run_jobs"]
