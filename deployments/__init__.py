"""Ray Serve deployments: the gateway, thin shells, the engines that they wrap, and the stores."""
