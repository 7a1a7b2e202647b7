# One image with every program: `neurotriage`, the four services and `neurotriage-migrate`.
#   docker build -t neurotriage:0.1.0 .
# The CPU build of libtorch is inside; see docs/adr/0002 for CUDA.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
ENV XDG_CACHE_HOME=/cache CARGO_TARGET_DIR=/target
COPY . .
RUN cargo xtask libtorch
RUN cargo build --profile dist --locked --workspace --bins
RUN mkdir -p /image/bin /image/lib \
    && for program in neurotriage neurotriage-ingestion neurotriage-segmentation \
        neurotriage-records neurotriage-referral neurotriage-migrate; do \
        cp "/target/dist/$program" /image/bin/ && strip --strip-debug "/image/bin/$program"; \
    done \
    && cp /cache/neurotriage/libtorch-*-cpu/lib/*.so* /image/lib/ \
    && rm /image/lib/libtorch.so

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libstdc++6 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 neurotriage \
    && useradd --uid 10001 --gid 10001 --create-home neurotriage \
    && install -d -o 10001 -g 10001 /var/lib/neurotriage/blobs
COPY --from=build /image/lib/ /usr/local/lib/
COPY --from=build /image/bin/ /usr/local/bin/
RUN ldconfig
USER 10001:10001
ENTRYPOINT []
CMD ["neurotriage", "--help"]
