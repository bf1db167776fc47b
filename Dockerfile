# The ledger's image: every program and the libraries it needs, on nothing else. No shell, no package manager; it writes no
# file, so the root may be read-only. The command names the process: docker run ledger ledger-worker.
#
# Built the same twice: SOURCE_DATE_EPOCH sets every time, and BASE may name a digest.
ARG BASE=debian:bookworm-slim
FROM ${BASE} AS build
ENV DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
COPY scripts/setup /src/scripts/setup
RUN apt-get update && apt-get install -y --no-install-recommends make ca-certificates tzdata && /src/scripts/setup build
COPY . /src
WORKDIR /src
RUN make CC=gcc programs
ARG SOURCE_DATE_EPOCH=0
RUN scripts/image-root build/gcc-release/bin /root-of-image "${SOURCE_DATE_EPOCH}"

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="ledger" \
      org.opencontainers.image.description="A balance ledger: commands from RabbitMQ, applied to PostgreSQL exactly once" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.documentation="docs/kubernetes.md" \
      org.opencontainers.image.base.name="debian:bookworm-slim"
COPY --from=build /root-of-image /
ENV PATH=/usr/bin
USER 65532:65532
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["ledgerctl", "--timeout", "3000", "health"]
CMD ["ledgerctl", "--help"]
