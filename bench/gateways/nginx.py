"""nginx as a bare proxy: the floor, no parsing, no keys, no choice."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from bench.gateways.base import Launch, Site
from bench.native import require

_CONFIG = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 1m;
    keepalive_requests 1000000000;
    upstream fake {{ server 127.0.0.1:{upstream_port}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://fake;
            proxy_http_version 1.1;
            proxy_set_header connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """One worker, kept-alive upstream connections, buffering off (a stream must leave as it comes)."""

    name: str = "nginx (bare proxy)"

    def version(self) -> str:
        """Of the nginx on PATH."""
        said = subprocess.run([require("nginx"), "-v"], capture_output=True, text=True, check=True).stderr
        found = re.search(r"nginx/([\d.]+)", said)
        return found.group(1) if found else said.strip()

    def prepare(self, site: Site) -> Launch:
        """A configuration with one location."""
        config = site.folder / "nginx.conf"
        config.write_text(_CONFIG.format(folder=site.folder, port=site.port, upstream_port=site.upstream_port))
        return Launch((require("nginx"), "-e", f"{site.folder}/error.log", "-c", str(config)), ready_path="/v1/models")

    def fields(self, answer: str) -> dict[str, str]:
        """Passed through."""
        return {"model": answer}
