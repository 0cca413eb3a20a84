# A worker on an NVIDIA GPU, with all backends and no HTTP server. The compilers are for torch.compile: C for
# Triton's launchers, C++ for inductor's wrappers.
FROM nvidia/cuda:12.8.1-runtime-ubuntu24.04
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/* && python3 -m venv /opt/framegate
ENV PATH=/opt/framegate/bin:$PATH
WORKDIR /src
COPY constraints.txt ./
COPY core core
COPY adapters adapters
COPY plugins plugins
RUN pip install --no-cache-dir -c constraints.txt ./core ./adapters/media './adapters/storage[s3]' \
    ./adapters/cli ./adapters/worker ./plugins/preview ./plugins/comfyui './plugins/diffusers[torch]' \
    './plugins/diffusers[small]' './plugins/wan21[torch]' './plugins/wan22[torch]' './plugins/ltx2[torch]' \
 && useradd --uid 10001 --create-home framegate && mkdir --parents /data /home/framegate/.cache \
 && chown --recursive framegate: /data /home/framegate && chmod 0700 /data
# The same user in both images: they share /data, which is closed to others.
USER 10001:10001
# NVENC, which encodes videos, needs `video`.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
ENV TRITON_CACHE_DIR=/home/framegate/.cache/triton
ENTRYPOINT ["framegate"]
CMD ["worker"]
