# The service, or with the command `worker` what trains for it. compose.yaml starts both, with what replicas share.
FROM python:3.11-slim

# PyPI's torch for Linux brings CUDA, which is gigabytes. For a small image, name the index of torch's CPU builds, which
# torch's own page on installing it tells: docker build --build-arg PIP_EXTRA_INDEX_URL=... The versions stay the same.
ARG PIP_EXTRA_INDEX_URL

WORKDIR /app
COPY requirements.txt constraints.txt ./
# What tests and benchmarks need stands last there, and stays out.
RUN sed '/^# Tests and style/,$d' requirements.txt > needed.txt \
    && pip install --no-cache-dir --no-compile -r needed.txt -c constraints.txt

COPY captioner captioner
COPY training training
COPY service service
COPY examples examples
COPY LICENSE README.md ./

# Nothing here belongs to the user that the service runs as, but the folder of its data.
RUN useradd --uid 10001 --no-create-home --home-dir /data captioner \
    && install --directory --owner=captioner --group=captioner --mode=0700 /data
USER captioner
VOLUME /data

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    CAPTIONER_HOME=/data \
    CAPTIONER_HOST=0.0.0.0 \
    CAPTIONER_PORT=8000
EXPOSE 8000

# It is ready some seconds after its start: the captioner is loaded, and the database answers.
HEALTHCHECK --interval=10s --timeout=8s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/api/health/ready', timeout=7)"]

ENTRYPOINT ["python", "-m", "service"]
