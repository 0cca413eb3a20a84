# The API: no torch, no CUDA.
FROM python:3.11-slim
WORKDIR /src
COPY constraints.txt ./
COPY core core
COPY adapters adapters
COPY plugins plugins
# The plugins tell what their models are; what runs them is for the workers.
RUN pip install --no-cache-dir -c constraints.txt ./core './adapters[s3]' ./plugins/preview ./plugins/comfyui \
    ./plugins/diffusers ./plugins/wan21 ./plugins/wan22 ./plugins/ltx2 \
 && useradd --create-home framegate && mkdir /data && chown framegate /data
USER framegate
EXPOSE 8000
ENTRYPOINT ["framegate"]
CMD ["serve"]
