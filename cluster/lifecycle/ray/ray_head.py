"""Runs `ray start` without the Ray Client server.

If gRPC is installed, `ray start --head` always adds that server (for `ray://` addresses, which we do not use), with no
option to disable it. It ends the whole head if the server fails, as it does on a busy machine when the raylet does not
appear within 30 s. The server also costs 50 MB and a second of two cores.
"""

from __future__ import annotations


def main() -> None:
    """Run Ray's command line with the arguments in `sys.argv`."""
    from ray.scripts import scripts

    if not callable(getattr(scripts, "get_ray_client_dependency_error", None)):
        raise RuntimeError("this version of Ray decides differently whether to start the Ray Client server")
    scripts.get_ray_client_dependency_error = lambda: "left out"
    scripts.main()


if __name__ == "__main__":
    main()
