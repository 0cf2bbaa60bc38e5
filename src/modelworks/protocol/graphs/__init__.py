"""Graphs of models: read from their file, checked against signatures, planned."""

from modelworks.protocol.graphs.checking import Checked, check_graph
from modelworks.protocol.graphs.plans import Plan
from modelworks.protocol.graphs.reading import graph_of, read_graph

__all__ = ["Checked", "Plan", "check_graph", "graph_of", "read_graph"]
