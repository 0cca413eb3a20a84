# The API: no torch, no CUDA, no worker.
FROM python:3.11-slim
WORKDIR /src
COPY constraints.txt ./
COPY core core
COPY adapters adapters
COPY plugins plugins
# The plugins describe their models; what runs them is in the workers' image.
RUN pip install --no-cache-dir -c constraints.txt ./core './adapters/media[faces]' './adapters/storage[s3]' \
    ./adapters/cli ./adapters/server ./plugins/preview ./plugins/comfyui ./plugins/diffusers ./plugins/wan21 \
    ./plugins/wan22 ./plugins/ltx2 \
 && useradd --uid 10001 --create-home framegate && mkdir --parents /data /home/framegate/.cache \
 && chown --recursive framegate: /data /home/framegate && chmod 0700 /data
# The same user in both images: they share /data, which is closed to others.
USER 10001:10001
EXPOSE 8000
ENTRYPOINT ["framegate"]
CMD ["serve", "--no-worker"]
