"""Listening sockets, made by the supervisor so that a worker that ends leaves nobody outside."""

import socket
import time

BIND_S = 5.0


class PortTaken(Exception):
    """Something else listens on the configured port."""


def bind(host: str, port: int, *, remedy: str = "use --port for another") -> socket.socket:
    """The listening socket; workers of a run that was just killed may hold the port for a moment.

    Raises:
        PortTaken: Somebody holds it longer.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + BIND_S
    while True:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(2048)
            return listening
        except OSError as error:
            listening.close()
            if time.monotonic() > deadline:
                raise PortTaken(f"cannot listen on {host}:{port}: {error.strerror}; {remedy}") from error
            time.sleep(0.1)
