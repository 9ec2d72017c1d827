# One image for `serve`, `sweep` and `agent`: the command after the image's name chooses.
#
#   docker build -t sfu-gateway .
#   docker run --rm sfu-gateway keygen
#
# It needs no writable path, no capability and no particular user: run it with a read-only root file system, as any uid.
#
# A tag moves. A build that can be repeated names the base by its digest, as the release workflow does:
#   docker build --build-arg PYTHON_IMAGE=python:3.13-slim-trixie@sha256:... -t sfu-gateway .

ARG PYTHON_IMAGE=python:3.13-slim-trixie

# Everything is installed into one directory here. Both lock files carry the hash of each package, and only wheels are
# taken: no package runs code of its own while the image is built.
FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/sfu-gateway
COPY requirements.lock requirements-build.lock ./
RUN pip --python /opt/sfu-gateway install --require-hashes -r requirements.lock \
    && pip install --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY docs/runbooks.md docs/runbooks.md
COPY workers workers
COPY lua lua
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/sfu-gateway install --no-deps --no-index /wheels/*.whl \
    && /opt/sfu-gateway/bin/sfu-gateway --version

FROM ${PYTHON_IMAGE}
# Nothing is installed into a running container. The slim base has the standard library without its compiled form, and the
# container cannot write it: each start, and each health check, would compile it again.
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore pip \
    && python -m compileall -q -j 0 -x '/(lib2to3|tests?)/' --invalidation-mode unchecked-hash \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/sfu-gateway /opt/sfu-gateway
ENV PATH=/opt/sfu-gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it is not root (`runAsNonRoot`). Any other one works too.
USER 10001:10001
# The public port, and the one of the operators' routes where SFU_GATEWAY_OPS__PORT sets it.
EXPOSE 8071 8073
# Asks the replica itself, never Redis. A sweeper or an agent has no such port: switch the check off there.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["sfu-gateway", "healthcheck"]
ENTRYPOINT ["sfu-gateway"]
CMD ["serve"]

# Last: they change with every build, and nothing comes after them.
ARG PYTHON_IMAGE
ARG VERSION=""
ARG REVISION=""
ARG CREATED=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="sfu-gateway" \
      org.opencontainers.image.description="Load balancer for WebRTC media servers (SFUs)" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="SFU gateway authors" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.url="${SOURCE}" \
      org.opencontainers.image.documentation="${SOURCE}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
