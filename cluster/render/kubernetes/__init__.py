"""Kubernetes manifests of a configuration, for KubeRay: pure, the same text for the same tree."""
