"""Takes the place of the agent that Ray's dashboard has on every node: there is no dashboard, and nothing is measured.

    python no_dashboard.py --session-dir=DIR --ports=NAME,NAME

A raylet starts its agent, waits until the agent's ports are in files of the session, and ends when the agent ends. Ray
without the dashboard's packages has an agent that writes -1 into these files and waits. This one does no more, and
imports nothing of Ray: a start costs 2 CPU seconds less. Run as a file, by the path.
"""

from __future__ import annotations

import os
import sys
import time


def main() -> None:
    """Write the ports, and wait for the end of the raylet."""
    raylet = os.getppid()
    options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:] if "=" in word)
    for name in options["ports"].split(","):
        path = os.path.join(options["session-dir"], f"{name}_{os.environ['RAY_NODE_ID']}")
        with open(f"{path}.new", "w") as file:
            file.write("-1")
        os.replace(f"{path}.new", path)
    while os.getppid() == raylet:
        time.sleep(1)


if __name__ == "__main__":
    main()
