#!/bin/sh
# Installs what `make bench` needs besides Python: a C compiler, wrk, nginx and the shared library LiteLLM's proxy imports.
set -eu
if command -v gcc >/dev/null && command -v wrk >/dev/null && [ -x /usr/sbin/nginx ] && ldconfig -p | grep -q libsndfile; then
    echo "already installed: gcc, wrk, nginx, libsndfile"
    exit 0
fi
command -v apt-get >/dev/null || { echo "no apt-get here: install gcc, wrk, nginx and libsndfile by hand" >&2; exit 1; }
as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root apt-get update -qq
# RUNLEVEL=1: the packages' services stay off; the benchmark starts its own nginx.
$as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    gcc libc6-dev wrk nginx-light libsndfile1
