"""Activated taps of the kernels, and their updates.

Integer arrays in, integer arrays out; no weights kept. Updates, which weights on a GPU need
too, are computed on torch's tensors.
"""

from dsn_sktime.topology.initial import TOPOLOGY_INITS, initial_topology
from dsn_sktime.topology.kernel_groups import KernelGroups
from dsn_sktime.topology.update import TopologyUpdate, update_topology

__all__ = [
    "TOPOLOGY_INITS",
    "KernelGroups",
    "TopologyUpdate",
    "initial_topology",
    "update_topology",
]
