# Untested: built nowhere so far. Tables of the tiny profile on CPUs:
#
#     docker build -t align-bench .
#     docker run --rm -v "$PWD/outputs:/work/outputs" align-bench run --table 1a --rows base,ddspo --cols GE
FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 1000 bench && mkdir -p /work/outputs && chown -R bench /work
WORKDIR /opt/align-bench
COPY . .
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
    -c constraints.txt ".[metrics]"
USER bench
WORKDIR /work
ENTRYPOINT ["bench"]
CMD ["list", "tables"]
