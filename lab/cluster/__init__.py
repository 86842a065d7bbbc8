"""Clusters: the checks that `ray up` would make too late."""

from lab.cluster.check import ClusterSummary, check

__all__ = ["ClusterSummary", "check"]
