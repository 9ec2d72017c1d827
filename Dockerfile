# One image for `serve`, `sweep` and `agent`: the command after the image's name chooses.
#
#   docker build -t sfu-gateway .
#   docker run --rm sfu-gateway keygen
#
# It needs no writable path: run it with a read-only root file system.

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
COPY workers workers
COPY lua lua
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/sfu-gateway install --no-deps --no-index /wheels/*.whl \
    && /opt/sfu-gateway/bin/sfu-gateway --version

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="sfu-gateway" \
      org.opencontainers.image.description="Load balancer for WebRTC media servers (SFUs)" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing is installed into a running container.
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore pip
COPY --from=build /opt/sfu-gateway /opt/sfu-gateway
ENV PATH=/opt/sfu-gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it is not root (`runAsNonRoot`).
USER 10001:10001
EXPOSE 8071
# Asks the replica itself, never Redis. A sweeper or an agent has no such port: switch the check off there.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["sfu-gateway", "healthcheck"]
ENTRYPOINT ["sfu-gateway"]
CMD ["serve"]
