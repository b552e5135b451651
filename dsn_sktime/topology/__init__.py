"""Activated taps of the kernels, and their updates.

A topology is a sorted integer array of positions; no weights are kept here. Updates take torch's
tensors, on any device.
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
