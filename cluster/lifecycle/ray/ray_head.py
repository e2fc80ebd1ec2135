"""`ray start` without the Ray Client server.

`ray start --head` always adds that server (for `ray://` addresses, which we do not use) when gRPC is installed, has no
option against it, and ends the whole head when it fails: on a busy machine its 30 s for the raylet to appear run out.
It also costs 50 MB and a second of two cores.
"""

from __future__ import annotations


def main() -> None:
    """Run Ray's command line; the arguments are `sys.argv`."""
    from ray.scripts import scripts

    if not callable(getattr(scripts, "get_ray_client_dependency_error", None)):
        raise RuntimeError("this version of Ray decides differently whether to start the Ray Client server")
    scripts.get_ray_client_dependency_error = lambda: "left out"
    scripts.main()


if __name__ == "__main__":
    main()
