# The service, or with the command `worker` what trains for it. compose.yaml starts both, with what replicas share.
FROM python:3.11-slim AS wheel

WORKDIR /source
COPY pyproject.toml setup.py LICENSE README.md ./
COPY captioner captioner
COPY training training
COPY service service
COPY examples examples
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .


FROM python:3.11-slim

# PyPI's torch for Linux brings CUDA, which is gigabytes. For a small image, name the index of torch's CPU builds, which
# torch's own page on installing it tells: docker build --build-arg PIP_EXTRA_INDEX_URL=... The versions stay the same.
ARG PIP_EXTRA_INDEX_URL

# The dependencies come first, from pyproject.toml alone: a change of the code builds only the small layer after them.
WORKDIR /dependencies
COPY pyproject.toml constraints.txt LICENSE README.md ./
COPY captioner/text/english_words.LICENSE captioner/text/
RUN pip install --no-cache-dir --no-compile ".[service]" -c constraints.txt
COPY --from=wheel /wheel /wheel
RUN pip install --no-cache-dir --no-deps --force-reinstall /wheel/*.whl
WORKDIR /

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

ENTRYPOINT ["captioner-serve"]
