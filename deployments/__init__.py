"""Ray Serve deployments: the gateway, the thin shells, the engines they wrap, and the stores."""
