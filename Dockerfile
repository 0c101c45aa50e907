# Herald with its web, metrics, notify and otel extras, for an account that is not root and a root file system that is read only.
#   docker build -t herald:local .
# See docs/DEPLOYMENT.md. Builder and image must have the same Python: the environment is copied from one to the other.

FROM python:3.13.7-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/server.txt requirements/build.txt requirements/
# In the versions and with the hashes of the locks, and nothing that would have to be built. What builds Herald stays behind.
RUN python -m venv /opt/herald \
 && /opt/herald/bin/python -m pip install --require-hashes --only-binary :all: -r requirements/server.txt \
 && python -m venv /opt/build \
 && /opt/build/bin/python -m pip install --require-hashes --only-binary :all: -r requirements/build.txt
COPY LICENSE README.md pyproject.toml ./
COPY herald herald
RUN /opt/build/bin/python -m pip wheel --no-deps --no-index --no-build-isolation --wheel-dir wheels . \
 && /opt/herald/bin/python -m pip install --no-deps --no-index wheels/*.whl \
 && /opt/herald/bin/python -m pip check \
 && /opt/herald/bin/python -m pip uninstall --yes pip

FROM python:3.13.7-slim-bookworm
LABEL org.opencontainers.image.title="Herald" \
      org.opencontainers.image.description="A plugin-based trading framework" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --system --gid 10001 herald \
 && useradd --system --uid 10001 --gid herald --no-log-init --home-dir /var/lib/herald --shell /usr/sbin/nologin herald \
 && install -d -o herald -g herald -m 0700 /var/lib/herald
COPY --from=build --chown=root:root /opt/herald /opt/herald
COPY --chown=root:root deploy/docker/herald.toml /etc/herald/herald.toml
# HOME holds the leases of accounts; the state has a folder of its own, because the one of the config is read only.
ENV PATH="/opt/herald/bin:$PATH" \
    HOME=/var/lib/herald \
    HERALD_LIVE__STATE=/var/lib/herald/state \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/herald
VOLUME ["/var/lib/herald"]
USER 10001:10001
STOPSIGNAL SIGTERM
# The control server answers while it hears the run; no port is exposed, because it listens inside the container only.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8787/healthz', timeout=4)"]
ENTRYPOINT ["herald"]
CMD ["supervise", "--", "herald", "paper", "/etc/herald/herald.toml"]
