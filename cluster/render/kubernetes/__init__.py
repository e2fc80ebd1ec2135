"""Renders the Kubernetes manifests of a configuration for KubeRay. Pure: the same tree gives the same text."""
