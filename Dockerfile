# The steps of README and docs/gpu_tpu.md in a container; docs/containers.md explains.
#
#   docker build --target cpu -t crossearth:cpu .
#   docker run --rm crossearth:cpu        # README's demo

FROM python:3.11-slim AS clone
# rasterio's wheel takes libexpat from the system, and this image has none; KubeRay asks
# for a pod's health with wget. Debian keeps one version of a package at a time, so a
# pinned one could not be found next month.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libexpat1 wget \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 crossearth \
 && install -d -o crossearth /crossearth
USER 1000
ENV PATH=/home/crossearth/venv/bin:$PATH
RUN python -m venv /home/crossearth/venv
WORKDIR /crossearth
COPY --chown=1000 . .
CMD ["python", "-m", "crossearth_jax.main", "--config", "configs/demo.py"]

FROM clone AS cpu
RUN pip install --no-cache-dir -e '.[geo,hub]'

# CUDA's libraries come with the wheels; the driver, and what passes it into the
# container, is the host's. The same image trains, maps, and works for Ray.
FROM clone AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN pip install --no-cache-dir -e '.[cuda,geo,hub,ray]'

FROM clone AS tpu
RUN pip install --no-cache-dir -e '.[tpu,geo,hub]'
