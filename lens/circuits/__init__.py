"""Edges and circuits: who sends it to whom, and which edges carry a task by themselves?

``edges`` (scores of all edges, or exact effects of some), ``faithfulness`` (what a circuit does alone), ``controls`` (a
circuit beside those of ``shuffled`` pairs and others), ``Circuit`` and ``open_circuit``, ``Graph``.
"""

from .circuit import Circuit, open_circuit, top_edges
from .controls import controls, shuffled
from .edges import edges
from .errors import CircuitError
from .faithfulness import faithfulness
from .graph import Graph
from .result import Edges

__all__ = [
    "Circuit",
    "CircuitError",
    "Edges",
    "Graph",
    "controls",
    "edges",
    "faithfulness",
    "open_circuit",
    "shuffled",
    "top_edges",
]
