"""Run inside a network namespace of its own: clients whose network goes away without a word, and what is left of them.

Prints the server's state before, and after the deadlines have passed.
"""

import json
import subprocess
import time

from tests.guarded import Guarded, request


def set_network(state: str) -> None:
    """Switch the network of this namespace `up` or `down`."""
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def main() -> None:
    """Open every kind of connection, take the network away, wait, and give it back."""
    set_network("up")
    with Guarded() as server:
        kinds = (b"", b"GET / HT", request("/words"), request("/flood"), request("/body", "Content-Length: 9"))
        for data in kinds * 4:
            server.connect(data)
        states = [server.state()]
        set_network("down")
        time.sleep(4)
        set_network("up")
        states.append(server.state())
        print(json.dumps(states))


if __name__ == "__main__":
    main()
