# Two images of one tool. docs/docker.md says how to use them.
#
#   docker build --target full -t latentscan:full .    fits and scans
#   docker build --target scan -t latentscan:scan .    only scans, without a training framework
#
# The steps are the scripts in docker/, so that they can also be run, and are tested, without a container engine.

ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS base
LABEL org.opencontainers.image.title="latentscan" \
      org.opencontainers.image.description="Offline backdoor scanner for image classifiers" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 latentscan \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin latentscan
# Nothing is written outside of /tmp and of what is mounted. HOME and USER also hold for `docker run --user`.
ENV PATH=/opt/latentscan/bin:$PATH \
    HOME=/tmp \
    USER=latentscan \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /data

FROM ${PYTHON_IMAGE} AS build
COPY pyproject.toml README.md LICENSE /src/
COPY latentscan /src/latentscan
COPY scanner /src/scanner
COPY detectors /src/detectors
COPY reference /src/reference
COPY docker /src/docker
RUN /src/docker/build-wheel.sh /src /wheels

FROM build AS build-scan
COPY requirements/scan.txt /src/requirements/scan.txt
RUN /src/docker/install-scan.sh /opt/latentscan /wheels /src/requirements/scan.txt

FROM build AS build-full
RUN /src/docker/install-full.sh /opt/latentscan /wheels

FROM base AS scan
COPY --from=build-scan /opt/latentscan /opt/latentscan
USER 10001:10001
ENTRYPOINT ["modelscan"]
CMD ["--help"]

# Last, so that it is what `docker build` makes without --target.
FROM base AS full
COPY --from=build-full /opt/latentscan /opt/latentscan
USER 10001:10001
ENTRYPOINT ["modelscan"]
CMD ["--help"]
