# Two stages: the first builds a virtual environment from hashed pins, the second gets only that. .make/docker_steps.py runs
# the same steps without Docker; a test keeps both working.
#
#   docker build -t spendgate .
#   docker run -p 8080:8080 -v spendgate:/data -v ./rules.yaml:/etc/spendgate/rules.yaml:ro spendgate
#
# The admin port serves the container itself alone, as rules.yaml names no admin tokens: `docker exec ... spendgate status`.
# With tokens there, -e SPENDGATE_ADMIN=0.0.0.0:8081 opens it; without, spendgate refuses to start with such an address.
#
# The counters live in /data (embedded store); with -e REDIS_URL=redis://... they live there and /data is not needed.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock .make/build.lock ./
RUN python -m pip install --require-hashes --only-binary :all: -r build.lock \
 && python -m venv --without-pip /opt/spendgate \
 && python -m pip --python /opt/spendgate/bin/python install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY proxy proxy
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && python -m pip --python /opt/spendgate/bin/python install --no-deps --no-index --find-links /dist spendgate

FROM python:3.13-slim
RUN python -m pip uninstall --yes pip \
 && groupadd --gid 10001 spendgate \
 && useradd --uid 10001 --gid spendgate --no-create-home --home-dir /data --shell /usr/sbin/nologin spendgate \
 && install -d -o spendgate -g spendgate -m 0700 /data
COPY --from=build /opt/spendgate /opt/spendgate
COPY rules.yaml /etc/spendgate/rules.yaml
ENV PATH=/opt/spendgate/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SPENDGATE_RULES=/etc/spendgate/rules.yaml \
    SPENDGATE_DATA=/data \
    SPENDGATE_LISTEN=0.0.0.0:8080 \
    SPENDGATE_ADMIN=127.0.0.1:8081 \
    SPENDGATE_LOG_FORMAT=json
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; p = os.environ['SPENDGATE_ADMIN'].rpartition(':')[2]; u.build_opener(u.ProxyHandler({})).open(f'http://127.0.0.1:{p}/readyz', timeout=2)"]
ENTRYPOINT ["spendgate"]
CMD ["serve"]
