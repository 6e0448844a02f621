"""The admin API's process: serves until SIGTERM on the socket that the supervisor bound."""

import logging
import socket
import sys

import redis
import uvicorn

from router.admin.app import create_admin_app
from router.admin.brief import AdminBrief
from router.store.place import store_url

REDIS_TIMEOUT_S = 30.0
DRAIN_S = 3


def main() -> None:
    """Read the brief from standard input and serve."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn.error").name = "uvicorn"  # "uvicorn.error: Started" reads like a failure
    brief = AdminBrief.load(sys.stdin.buffer.readline())
    with redis.Redis.from_url(store_url(brief.config.store), socket_timeout=REDIS_TIMEOUT_S) as client:
        app = create_admin_app(brief.config, client=client, secret=brief.secret, version=brief.version)
        config = uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the audit log names the address that asked, not the one it claims
            timeout_graceful_shutdown=DRAIN_S,
        )
        uvicorn.Server(config).run(sockets=[socket.socket(fileno=brief.socket_fd)])


if __name__ == "__main__":
    main()
