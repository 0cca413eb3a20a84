# The API: no torch, no CUDA.
FROM python:3.11-slim
WORKDIR /src
COPY constraints.txt ./
COPY core core
COPY adapters adapters
COPY plugins/preview plugins/preview
RUN pip install --no-cache-dir -c constraints.txt ./core ./adapters ./plugins/preview \
 && useradd --create-home framegate && mkdir /data && chown framegate /data
USER framegate
EXPOSE 8000
ENTRYPOINT ["framegate"]
CMD ["serve"]
